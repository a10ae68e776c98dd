"""Remarks within an answer: reasons, rejected values, a second form of the same value."""

from __future__ import annotations

import re

_REASON = re.compile(
    r"\s*[,;]?\s*(?:\\text\s*\{\s*[,;(]*\s*(?:since|because|as)\s|\\?[,;(]\s*(?:since|because)\s|[（(]?因为)",
    re.IGNORECASE,
)
_STATUS = (
    r"(?:both\s+|all\s+|each\s+)?(?:都|均)?(?:is\s+|are\s+|was\s+)?(?:to\s+be\s+)?(?:rejected|reject|extraneous(?:\s+(?:root|solution))?"
    r"|discarded|discard|invalid|not\s+valid"
    r"|not\s+allowed|inadmissible|impossible|not\s+possible|ignored|excluded|omitted|no\s+good|舍去?|舍弃|增根"
    r"|不合题意|不符合题意"
    r"|不合题意[，,]?\s?舍去?|不符|不成立)"
)
_REJECTED = re.compile(
    rf"\s*(?:\\(?:text|mathrm|mbox)\s*\{{\s*)?[(（]?\s*(?:是|为)?{_STATUS}\s*[)）]?\s*\}}?\s*[)）]?\.?$",
    re.IGNORECASE,
)
_ASIDE = re.compile(rf"\s*[(（]([^()（）]{{1,80}}?)\s*(?:是|为|\s)\s*{_STATUS}\s*[)）]\.?$", re.IGNORECASE)
"""A remark in brackets on another value: x = 3 (x = −1 is extraneous)."""
_ALL = re.compile(r"\b(?:both|all|each)\b|都|均", re.IGNORECASE)
_HINT = re.compile(
    r"reject|extran|discard|valid|allowed|inadm|possible|ignored|excluded|omitted|no good|舍"
    r"|增根|不合|不符|不成立",
    re.IGNORECASE,
)
_SEPARATOR = re.compile(r"\s*(?:[,;，；、]|\\text\s*\{\s*(?:or|and)\s*\}|\bor\b|\band\b|或者?|和)\s*")
_SECOND_FORM = re.compile(
    r"\s*(?:\\text\s*\{\s*)?\(\s*(?:or|or\s+equivalently|equivalently|i\.e\.,?"
    r"|that\s+is,?)\s*\}?\s*([^()]{1,60})\)\.?$",
    re.IGNORECASE,
)
_SAID = re.compile(r"^\s*(?:but|where|and|with|但是?|其中|而)\s*|\s*(?:is|are|was|是|为)\s*$", re.IGNORECASE)
_SQUARED = re.compile(r"\\[()\[\]]|\$")


LONGEST = 2000
"""Characters; a longer answer keeps its remarks, and with them equals only itself."""


def without_remarks(text: str) -> str:
    """The answer without reasons and rejected values; empty if every value is rejected."""
    if len(text) <= LONGEST and _HINT.search(text):
        text = _without_rejected(text)
    if "since" in text or "because" in text or "as " in text or "因为" in text:
        reason = _REASON.search(text)
        if reason and reason.start():
            text = text[: reason.start()]
    if "or" in text or "i.e" in text or "that is" in text or "equiv" in text:
        text = _SECOND_FORM.sub(r" = \1", text)
    return text


def _without_rejected(text: str) -> str:
    """x = 3, x = −2 (rejected) as x = 3; a remark in brackets belongs to the value before it."""
    if (aside := _ASIDE.search(text)) and any(mark.isdigit() for mark in aside[1]):
        kept_value = text[: aside.start()]
        if _bare(aside[1]) in (_bare(kept_value), _bare(kept_value.rpartition("=")[2])):
            return ""
        text = kept_value
    pieces: list[str] = []
    start = 0
    for separator in _SEPARATOR.finditer(text):
        if _is_nested(text[start : separator.start()]):
            continue
        pieces += [text[start : separator.start()], separator.group()]
        start = separator.end()
    pieces.append(text[start:])
    values = pieces[::2]
    kept = [place for place, value in enumerate(values) if not _REJECTED.search(_SQUARED.sub("", value))]
    if len(kept) == len(values):
        return text
    rejected = {_bare(values[place]) for place in range(len(values)) if place not in kept}
    if rejected & {_bare(values[place]) for place in kept}:
        return ""
    if any(_ALL.search(values[place]) for place in range(len(values)) if place not in kept):
        return ""
    return ", ".join(values[place] for place in kept)


def _bare(value: str) -> str:
    """A value without what is said of it, so that x = 2 and "but x = 2 is rejected" are the same."""
    return _SAID.sub("", _REJECTED.sub("", _SQUARED.sub("", value))).replace(" ", "")


def _is_nested(before: str) -> bool:
    """Whether a separator after this text is inside brackets."""
    return any(
        before.count(opening) > before.count(closing) for opening, closing in ("()", "[]", "{}", "（）")
    )
