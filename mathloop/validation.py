"""Formats pydantic's validation errors as one line with the field; no other code does."""

from __future__ import annotations

import difflib
import json
import types
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

SHOWN = 80
"""Characters of a wrong value that a message shows."""


class Mistake(NamedTuple):
    """One mistake in a value."""

    path: tuple[str, ...]
    """Names of the sections and the field; empty if the whole value is wrong."""
    unknown: bool
    """True if no field has this name."""
    text: str
    """Expected and actual value, without the path."""

    @property
    def field(self) -> str:
        return ".".join(self.path)

    def line(self, where: str = "") -> str:
        """One line that starts with `where`, such as a file, and the field."""
        return ": ".join(part for part in (where, self.field, self.text) if part)


def first_mistake(
    error: ValidationError, model: type[BaseModel], renamed: Mapping[str, str] | None = None
) -> Mistake:
    """The mistake to show; its text also says how many more there are.

    Args:
        model: the class that the value was validated against.
        renamed: old path of a field → message.
    """
    mistakes = error.errors(include_url=False)
    # An unknown name explains more than a missing one.
    mistake = min(mistakes, key=lambda one: one["type"] != "extra_forbidden")
    path = tuple(str(part) for part in mistake["loc"])
    unknown = mistake["type"] == "extra_forbidden"
    more = f" (and {len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    if unknown and ".".join(path) in (renamed or {}):
        return Mistake(path, unknown, (renamed or {})[".".join(path)] + more)
    return Mistake(path, unknown, _text(mistake, path, model) + more)


def _text(mistake: Mapping[str, Any], path: Sequence[str], model: type[BaseModel]) -> str:
    kind = mistake["type"]
    if kind == "extra_forbidden":
        owner = model_in(annotation(model, path[:-1]))
        known = sorted(owner.model_fields) if owner else []
        return f"no such field{closest(path[-1], known)}; known: {', '.join(known)}"
    if kind == "missing":
        return "missing; add it"
    if kind == "value_error":  # raised by a validator of ours, which names the fields
        return str(mistake["ctx"]["error"])
    if kind == "json_invalid":
        return f"not valid JSON ({mistake['ctx']['error']})"
    message: str = mistake["msg"]
    expected = message[0].lower() + message[1:]
    return f"{expected}, found {cut(json.dumps(mistake['input'], ensure_ascii=False, default=str))}"


def annotation(model: type[BaseModel], path: Sequence[str]) -> Any:
    """The type hint of the field at `path`; None if there is no such field."""
    hint: Any = model
    for name in path:
        owner = model_in(hint)
        if owner is None:
            # Inside a list of sections the path holds an index.
            inner = next(iter(get_args(hint)), None) if name.isdigit() else None
            if inner is None:
                return None
            hint = inner
            continue
        if name not in owner.model_fields:
            return None
        hint = owner.model_fields[name].annotation
    return hint


def model_in(hint: Any) -> type[BaseModel] | None:
    """The pydantic class in a type hint, which may be a union; None if there is none."""
    return next(_models_in(hint), None)


def _models_in(hint: Any) -> Iterator[type[BaseModel]]:
    if get_origin(hint) in (Union, types.UnionType):
        for choice in get_args(hint):
            yield from _models_in(choice)
    elif isinstance(hint, type) and issubclass(hint, BaseModel):
        yield hint


def closest(name: str, known: Sequence[str]) -> str:
    """`, did you mean 'steps'`, or an empty string if no known name is similar."""
    close = difflib.get_close_matches(name, known, n=1)
    return f", did you mean {close[0]!r}" if close else ""


def cut(text: str) -> str:
    """The text, truncated to `SHOWN` characters."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"
