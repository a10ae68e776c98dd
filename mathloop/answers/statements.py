"""Sentences that state an answer without a number: "Options A and B are correct", "The function is even"."""

from __future__ import annotations

import re

_CHOSEN = re.compile(
    r"\b(?:options?|choices?|statements?)\s+(\(?[A-K]\)?(?:(?:\s*,\s*|\s+and\s+)\(?[A-K]\)?)*)\s+(?:is|are)\s+(?:the\s+)?"
    r"(?:correct|right|true)|\b(?:choose|select|pick|go\s+with)\s+(?:option\s+|choice\s+)?\(?([A-K])\)?(?![a-zA-Z])",
    re.IGNORECASE,
)

_DECLINED = re.compile(r"\b(?:not|never|cannot|n['’]t|neither|nor)\b[^.]{0,30}$", re.IGNORECASE)


def chosen(sentence: str) -> str | None:
    """The letters of "Options A and B are correct" or "I choose B"; None where there are none."""
    match = _CHOSEN.search(sentence)
    if match is None or _DECLINED.search(sentence, 0, match.start()):
        return None
    return match[1] or match[2]


_SAYS = re.compile(
    r"(?:the|so|thus|hence|therefore|it|he|she|this|that)\b[^.?]{0,60}?\b(?:is|are|was)\s+(?:an?\s+|the\s+)?(\w+(?:\s\w+)?)$",
    re.IGNORECASE,
)

_UNSURE = re.compile(
    r"\b(?:whether|if|not|or|no|never|unclear|maybe|perhaps|possibly)\b|n['’]t", re.IGNORECASE
)


def adjective(sentence: str) -> str | None:
    """The even of "The function is even"."""
    match = _SAYS.fullmatch(sentence.strip(" ."))
    if match is None or _UNSURE.search(sentence) or any(mark.isdigit() for mark in sentence):
        return None
    return match[1]
