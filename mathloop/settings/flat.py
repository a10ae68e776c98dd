"""Settings as dotted keys, as `--set` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def flatten(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """`{"grpo": {"steps": 3}}` → `{"grpo.steps": 3}`; an empty section has no key."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{above}{name}"
        flat |= flatten(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return flat


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, before, after) of every key that differs, sorted; None where one has no such key."""
    one, other = flatten(before), flatten(after)
    return [
        (key, one.get(key), other.get(key))
        for key in sorted({*one, *other})
        if one.get(key) != other.get(key)
    ]
