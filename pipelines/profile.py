"""Profiles: a run's settings in one YAML file, by name or by path, with `--set` overrides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError

from mathloop.errors import BadConfig
from mathloop.settings import Settings, parse_settings
from mathloop.settings.resolving import merged
from mathloop.settings.settings import RENAMED
from mathloop.validation import Mistake, annotation, closest, cut, first_mistake
from mathloop.yaml_values import odd_value, parse, read

FOLDER = Path(__file__).parent / "profiles"
EXTENDS = "extends"
"""Field of a profile that names the profile whose settings it starts from."""


def load_profile(name: str, sets: Sequence[str] = ()) -> Settings:
    """Reads a profile by name (in `pipelines/profiles`) or by file, and applies `key=value` overrides.

    Raises:
        BadConfig: one line with file, field, expected value, and the closest known name if one is unknown.
    """
    path = profile_path(name)
    shown = path.name if path.parent == FOLDER else str(path)
    values = {"name": path.stem, **_read(path, ())}
    for text in sets:
        _override(values, text)
    try:
        return _located(check_profile(values, shown, sets).expanded(), path)
    except BadConfig:
        if (base := _base(path, shown, read(path, shown))) is not None:
            load_profile(str(base))  # its own errors name its own file
        raise


def _located(settings: Settings, path: Path) -> Settings:
    """Files of benchmarks become absolute: they are beside the profile, else in the current folder."""
    named = settings.benchmarks
    if not (named.measure or named.exclude or named.folders):
        return settings
    beside = None if path.parent == FOLDER else path.resolve().parent

    def place(text: str) -> str:
        given = Path(text).expanduser()
        if "://" in text:
            return text
        return str(beside / given) if beside and (beside / given).exists() else str(given.absolute())

    changes = {
        "measure": tuple(place(name) if _is_file(name) else name for name in named.measure),
        "exclude": tuple(place(name) if _is_file(name) else name for name in named.exclude),
        "folders": (*map(place, named.folders), *([str(beside)] if beside else [])),
    }
    return settings.model_copy(update={"benchmarks": named.model_copy(update=changes)})


_FILES = (".yaml", ".yml", ".json", ".jsonl", ".parquet", ".csv", ".gz", ".zst")


def _is_file(name: str) -> bool:
    return "/" in name or Path(name).suffix in _FILES


def check_profile(values: Mapping[str, Any], shown: str, sets: Sequence[str] = ()) -> Settings:
    """Settings from plain values; errors name the file `shown`, or the `--set` they came from."""
    odd = odd_value(values)
    if odd is not None:
        names, wrong = odd
        raise BadConfig(f"{_blame(Mistake(names, False, ''), shown, sets)}: {wrong}")
    try:
        return parse_settings(values)
    except ValidationError as error:
        mistake = first_mistake(error, Settings, RENAMED)
        raise BadConfig(f"{_blame(mistake, shown, sets)}: {mistake.text}") from None


def profile_names() -> list[str]:
    """Names of the shipped profiles."""
    return sorted(file.stem for file in FOLDER.glob("*.yaml"))


def profile_path(name: str) -> Path:
    """The file of a profile, by name or by path; raises BadConfig if there is none."""
    is_file = name.endswith((".yaml", ".yml"))
    path = Path(name).expanduser() if is_file else FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = profile_names()
        raise BadConfig(
            f"no profile {name!r}{closest(name, known)}; known: {', '.join(known)}, or a .yaml file"
        )
    return path


def changed_fields(settings: BaseModel, defaults: BaseModel) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """(path, value, default) of every field that differs from the defaults, as plain values."""
    for name in type(settings).model_fields:
        value, default = getattr(settings, name), getattr(defaults, name)
        if value == default:
            continue
        if isinstance(value, BaseModel) and isinstance(default, BaseModel):
            for path, inner, other in changed_fields(value, default):
                yield (name, *path), inner, other
        else:
            plain = settings.model_dump(mode="json", include={name})[name]
            yield (name,), plain, defaults.model_dump(mode="json", include={name})[name]


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    """The file's values on top of those of the profile that it extends."""
    shown = path.name if path.parent == FOLDER else str(path)
    values = read(path, shown)
    base = _base(path, shown, values)
    own = {name: value for name, value in values.items() if name != EXTENDS}
    if base is None:
        return own
    if base.resolve() in (*seen, path.resolve()):
        raise BadConfig(f"{shown}: {EXTENDS}: {values[EXTENDS]} extends this profile; break the circle")
    inherited = _read(base, (*seen, path.resolve()))
    below = {name: value for name, value in inherited.items() if name not in ("name", "description")}
    return merged(below, own)


def _base(path: Path, shown: str, values: Mapping[str, Any]) -> Path | None:
    """The file of the profile that these values extend."""
    base = values.get(EXTENDS)
    if base is None:
        return None
    if not isinstance(base, str):
        raise BadConfig(f"{shown}: {EXTENDS}: expected the name or the file of one profile")
    if base.endswith((".yaml", ".yml")):
        base = str(path.parent / Path(base).expanduser())
    try:
        return profile_path(base)
    except BadConfig as error:
        raise BadConfig(f"{shown}: {EXTENDS}: {error}") from None


def _override(values: dict[str, Any], text: str) -> None:
    key, equals, raw = text.partition("=")
    names = key.strip().split(".")
    shown = f"--set {cut(text)}"
    if not equals or not all(names):
        raise BadConfig(f"{shown}: expected section.field=value, for example grpo.steps=10")
    try:
        # A text field takes the raw text: --set name=10 is not a number.
        value = raw if annotation(Settings, names) is str else parse(raw)
    except yaml.YAMLError:
        raise BadConfig(f"{shown}: {cut(raw)!r} is not a value; quote text that holds : or [") from None
    *folders, last = names
    for name in folders:
        inner = values.get(name, {})
        if not isinstance(inner, dict):
            raise BadConfig(f"{shown}: {name!r} is a value, not a section")
        values[name] = dict(inner)  # a copy: a YAML alias shares the section
        values = values[name]
    values[last] = value


def _blame(mistake: Mistake, shown: str, sets: Sequence[str]) -> str:
    """The last `--set` that the mistake is in; else the file and the field."""
    for text in reversed(sets):
        key = text.partition("=")[0].strip()
        # The --set gave this field, or a section that contains it.
        inside = f"{mistake.field}.".startswith(f"{key}.")
        # It gave a field of an unknown section, or one of several fields that conflict.
        below = key.startswith(f"{mistake.field}.") and (
            mistake.unknown or key.rpartition(".")[2] in mistake.text
        )
        if inside or below:
            return f"--set {cut(text)}"
    return f"{shown}: {mistake.field}" if mistake.path else shown
