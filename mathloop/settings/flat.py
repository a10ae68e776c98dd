"""Settings as dotted keys, as `--set` takes them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any


def flatten(settings: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """`{"grpo": {"steps": 3}}` → `{"grpo.steps": 3}`; an empty section has no key."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        key = f"{above}{name}"
        flat |= flatten(value, f"{key}.") if isinstance(value, Mapping) else {key: value}
    return flat


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    """(key, before, after) of every key that differs, sorted; None where one has no such key.

    A setting that one of them lacks and that has its default in the other is no change: it is newer than
    the round that lacks it.
    """
    one, other = flatten(before), flatten(after)
    differing = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    known = _defaults() if any(key not in one or key not in other for key in differing) else {}
    return [
        (key, one.get(key), other.get(key))
        for key in differing
        if (key in one and key in other) or key not in known or {**one, **other}[key] != known[key]
    ]


@cache
def _defaults() -> Mapping[str, Any]:
    from mathloop.settings.settings import Settings

    return flatten(Settings().model_dump(mode="json"))
