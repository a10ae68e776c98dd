"""Plain values into `Settings`: defaults filled in, overrides applied, mistakes worded in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from mathloop.errors import BadConfig
from mathloop.settings.settings import RENAMED, SECTIONS, Settings
from mathloop.validation import first_mistake, model_in

OVERRIDES = 'overrides: expected sections and fields as one JSON object, such as {"grpo": {"steps": 10}}'


def parse_settings(values: Mapping[str, Any]) -> Settings:
    """Settings from plain values.

    Raises:
        ValidationError: a value is not what its field takes; `first_mistake` words it.
    """
    # Strict JSON: no text taken for a number, yet lists become tuples and whole numbers fit floats.
    whole = json.dumps(merged(defaults(Settings), values))
    return Settings.model_validate_json(whole, strict=True)


def resolve(profile: str, overrides: str) -> Settings:
    """The settings of a run: those of a profile with a run's overrides.

    Args:
        profile: all settings as JSON, as a pipeline was compiled with; empty: the defaults.
        overrides: some sections and fields as JSON.

    Raises:
        BadConfig: one line that names the field, what was expected, and what to do.
    """
    changes = _object(overrides)
    if "pools" in changes:
        raise BadConfig(
            "overrides: pools: node pools are compiled into a pipeline; change the profile and upload it "
            "with `mathloop submit --profile FILE`"
        )
    if alone := [name for name in changes if name in Settings.model_fields and name not in SECTIONS]:
        raise BadConfig(
            f"overrides: {alone[0]}: is no section; seed and store are parameters of the run, "
            "other fields are the profile's"
        )
    base = json.loads(profile) if profile else {}
    try:
        return parse_settings(merged(base, changes))
    except ValidationError as error:
        raise BadConfig(first_mistake(error, Settings, RENAMED).line("overrides")) from None


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Every nested section's own defaults, field by field, so that giving one field of a section keeps what
    the stage's default says in the others."""
    values = {}
    for name, field in model.model_fields.items():
        if isinstance(field.default, BaseModel):
            values[name] = field.default.model_dump(mode="json")
        elif (inner := model_in(field.annotation)) is not None and field.default_factory is not None:
            values[name] = defaults(inner)
    return values


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` with `changes` on top: sections are merged field by field, anything else is replaced."""
    result = {**values, **changes}
    for name, value in values.items():
        if isinstance(value, Mapping) and isinstance(changes.get(name), Mapping):
            result[name] = merged(value, changes[name])
    return result


def _object(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text or "{}")
    except ValueError as error:
        raise BadConfig(f"{OVERRIDES}; found {text[:80]!r} ({error})") from None
    if not isinstance(value, dict):
        raise BadConfig(f"{OVERRIDES}; found {text[:80]!r}")
    return value
