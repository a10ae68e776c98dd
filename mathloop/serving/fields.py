"""Values of a request's fields, checked: each is what it should be, or is refused in one line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from mathloop.lines import describe
from mathloop.serving.refusals import Refused

Choice = TypeVar("Choice", bound=str)


def read_choice(fields: dict[str, Any], name: str, choices: tuple[Choice, ...], default: Choice) -> Choice:
    """One of `choices`."""
    value = fields.get(name, default)
    chosen = next((choice for choice in choices if choice == value), None)
    if chosen is None:
        raise wrong(name, one_of(choices), value)
    return chosen


def one_of(names: Sequence[str]) -> str:
    """The names in words."""
    return f"{', '.join(names[:-1])} or {names[-1]}"


def read_whole(fields: dict[str, Any], name: str, default: int, low: int, high: int) -> int:
    """A whole number from `low` to `high`."""
    value = fields.get(name, default)
    if type(value) is not int or not low <= value <= high:
        raise wrong(name, f"a whole number from {low} to {high}", value)
    return value


def read_number(fields: dict[str, Any], name: str, default: float, low: float, high: float) -> float:
    """A number from `low` to `high`."""
    value = fields.get(name, default)
    if type(value) not in (int, float) or not low <= value <= high:
        raise wrong(name, f"a number from {low:g} to {high:g}", value)
    return float(value)


def read_flag(fields: dict[str, Any], name: str) -> bool:
    """True or false; false where it is not set."""
    value = fields.get(name, False)
    if not isinstance(value, bool):
        raise wrong(name, "true or false", value)
    return value


def read_stop(fields: dict[str, Any], most: int, longest: int) -> tuple[str, ...]:
    """OpenAI's `stop`: a text, or a list of texts. An empty one stops nothing."""
    value = fields.get("stop", [])
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise wrong("stop", "text, or a list of texts", value)
    if len(texts) > most:
        raise Refused(422, f"stop: expected at most {most} texts, found {len(texts)}", param="stop")
    if any(len(text) > longest for text in texts):
        raise Refused(422, f"stop: expected texts of at most {longest} characters", param="stop")
    return tuple(dict.fromkeys(filter(None, texts)))


def wrong(where: str, expected: str, value: Any) -> Refused:
    """The refusal of a value."""
    message = f"{where}: expected {expected}, found {describe(value)}"
    return Refused(422, message, param=where.partition("[")[0])
