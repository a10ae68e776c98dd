"""Reads a problem out of a text that a model wrote. A new parser is a function and one line in PARSERS."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

Parser = Callable[[str], str | None]
"""A writer's text → the statement; None if the text does not have the form."""

_TAGGED = re.compile(r"<problem>(.*?)</problem>", re.DOTALL | re.IGNORECASE)
_LABEL = re.compile(
    r"^[#*\s]*(?:(?:the|a|your)\s+)?(?:new|rewritten|reworded|modified|created|final|translated|evolved)?\s*"
    r"(?:problem|question|translation|题目|问题|新题目?|译文|翻译)\s*(?:\d+)?\s*[*]*\s*[:：][*\s]*",
    re.IGNORECASE,
)
_FENCE = re.compile(r"```(?:json)?\s*(\{.*?\})\s*```", re.DOTALL)


def whole(text: str) -> str | None:
    """All of the text."""
    return text.strip() or None


def labeled(text: str) -> str | None:
    """What follows "New problem:", or the whole text without such a label; quotes around it are removed."""
    lines = text.strip().splitlines()
    for number, line in enumerate(lines):
        if found := _LABEL.match(line):
            return _unquoted("\n".join([line[found.end() :], *lines[number + 1 :]]))
    return _unquoted(text)


def tagged(text: str) -> str | None:
    """What is between <problem> and </problem>: exactly one such part."""
    parts = _TAGGED.findall(text)
    return parts[0].strip() or None if len(parts) == 1 else None


def as_json(text: str) -> str | None:
    """The text under "problem" in a JSON object, which may be fenced."""
    found = _FENCE.search(text)
    try:
        value = json.loads(found[1] if found else text)
    except (ValueError, RecursionError):
        return None
    statement = value.get("problem") if isinstance(value, dict) else None
    return statement.strip() or None if isinstance(statement, str) else None


def _unquoted(text: str) -> str | None:
    text = text.strip()
    for opening, closing in ('""', "“”", "「」"):
        if len(text) > 1 and text[0] == opening and text[-1] == closing and opening not in text[1:-1]:
            text = text[1:-1].strip()
    return text or None


PARSERS: dict[str, Parser] = {"whole": whole, "labeled": labeled, "tagged": tagged, "json": as_json}
