"""Builds `Settings` from plain values: fills in defaults, applies overrides, reports errors in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from mathloop.errors import BadConfig
from mathloop.settings.settings import RENAMED, SECTIONS, Settings
from mathloop.validation import first_mistake

OVERRIDES = 'overrides: expected sections and fields as one JSON object, such as {"grpo": {"steps": 10}}'


def parse_settings(values: Mapping[str, Any]) -> Settings:
    """Settings from plain values.

    Raises:
        ValidationError: a value does not fit its field; `first_mistake` formats it.
    """
    # Strict mode parses no number from a string; in JSON it still takes lists for tuples and ints for floats.
    whole = json.dumps(merged(defaults(Settings), values))
    return Settings.model_validate_json(whole, strict=True)


def resolve(profile: str, overrides: str) -> Settings:
    """The settings of a run: a profile's settings with the run's overrides.

    Args:
        profile: all settings that the pipeline was compiled with, as JSON; empty: the defaults.
        overrides: sections and fields to override, as JSON.

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
    """Each nested section's defaults, per field, so that setting one field of a section keeps the defaults of
    its other fields."""
    return {
        name: field.default.model_dump(mode="json")
        for name, field in model.model_fields.items()
        if isinstance(field.default, BaseModel)
    }


def merged(values: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`values` updated with `changes`: sections are merged per field, anything else is replaced."""
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
