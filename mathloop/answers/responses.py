"""Tells whole responses from answers, and takes responses apart."""

from __future__ import annotations

import re
from functools import lru_cache

from mathloop.answers.boxes import last_box
from mathloop.answers.chinese_sentences import CONNECTIVES, HAN
from mathloop.answers.extraction import extract_answer
from mathloop.answers.nouns import droppable
from mathloop.answers.remarks import without_remarks
from mathloop.answers.understood import is_mathematics
from mathloop.answers.units import scale

_SIGNS = ("boxed", "\\f", "#", "<", ":")
LONGEST_CACHED = 300
_MARKED = re.compile(
    r"boxed|\\f(?:rame)?box\s?\{|####|<answer>|think>|\banswers?\b|答案|(?:^|[\n。])\s?答\s?[:：]",
    re.IGNORECASE,
)
"""Marks that only a response has."""
_SENTENCES = re.compile(
    r"[.!?]\s+[A-Z$\\]|[。！？；]|\n|(?<![A-Za-z])[A-Za-z]{2,20}[ ,]{1,3}[A-Za-z]{2,20}[ ,]"
    r"|\b(?:is|are|because|since)\b|['’]s\b|[a-zA-Z]{3}\s?:|[，故选舍]|[\u4e00-\u9fff][^，,]{0,40},"
    r"|^\s*(?:so|thus|hence|therefore|the|we|he|she|it|they|i|then|now|options?|yes|no|not)\b(?!$)|\breject|\bextran|\bdiscard|\((?:or|i\.e)",
    re.IGNORECASE,
)
"""Marks of prose, which may be a response or an answer in words."""
_LETTER_FIRST = re.compile(r"\s*(?:\\text\w*\s*\{\s*)?(?:\([A-K]\)|[A-K]\s?[.:：、)])")
_CONCLUDED_HAN = re.compile(
    "[。！？].|(?:^|[，,。])\\s?(?:故|所以|因此|综上|从而|(?:本题|此题)?应?选)|(?:是|为|等于|共|需要?|[还剩]有|有)[^。]{1,40}。\\s*$"
)
_OPENED = re.compile(r"[\s$\\]*boxed")
_LAST_COUNT = re.compile(r"\d[\d.]{0,20}([%％]|[\u4e00-\u9fff]{0,8})。\s*$")
_STATED = re.compile(
    r"^\s*(?:so|thus|hence|therefore|we|he|she|it|they|i|then|now|options?)\s|^\s*[A-Z][a-z]*(?:\s[^\s.]{1,30}){3,30}\.\s*$"
    r"|\b(?:is|are|was|equals?|has|have|gives?|find|finds|get|gets|obtain|conclude|must|would|because"
    r"|since|therefore|thus|hence)\b|['’]s\b|[a-zA-Z]\s?[:=]|[.!?]\s+[A-Z]"
    r"|(?<![A-Za-z'’])(?:[A-Za-z'’]{2,20}[ ,.]{1,3}){5}|^(?:yes|no)\b",
    re.IGNORECASE,
)
"""What a sentence has and a phrase does not: "a loss of 5" is not 5."""
_UNWRAPPED = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox|textrm)\s*\{([^{}]*)\}")
_PROSE_IN_TEXT = re.compile(r"\\(?:text|textbf|mbox|mathrm)\s?\{[^{}]{0,200}?[A-Za-z]{2}\s[^{}]{0,200}\}")


def final_answer(text: str) -> str:
    """The answer of a response; any other text without its remarks."""
    if " " not in text and "\n" not in text and text.isascii() and not any(map(text.__contains__, _SIGNS)):
        return text
    if not _MARKED.search(text) and not _SENTENCES.search(text):
        return text
    return _cached(text) if len(text) <= LONGEST_CACHED else _find(text)


def _find(text: str) -> str:
    if (
        _OPENED.match(text)
        and last_box(text) is None
        and extract_answer(text) is None
        and len(text) <= LONGEST_CACHED
    ):
        return text.partition("boxed")[2].strip(" {")  # a gold answer whose brace was lost
    if _MARKED.search(text):
        answer = extract_answer(_UNWRAPPED.sub(r"\1", text) if text.startswith("\\text") else text)
        return without_remarks(_of_prose(answer)) if answer else ""
    return _of_prose(text)


_cached = lru_cache(maxsize=4096)(_find)


def _of_prose(text: str) -> str:
    """The answer that a sentence states; mathematics and mere words without their remarks."""
    if _LETTER_FIRST.match(text):
        return text
    text = CONNECTIVES.sub("", text)
    if HAN.search(text):
        stated = _CONCLUDED_HAN.search(text) or _ends_with_value(text)
        return (extract_answer(text) if stated else None) or without_remarks(text)
    shorter = without_remarks(text)
    if not shorter.strip() or is_mathematics(shorter):
        return shorter
    if not _STATED.search(text):
        return shorter
    unwrapped = _UNWRAPPED.sub(r"\1", text) if _PROSE_IN_TEXT.search(text) else text
    return extract_answer(unwrapped) or shorter


def _ends_with_value(text: str) -> bool:
    """Whether a Chinese sentence ends with a number and what it counts: 最后还剩12个苹果。"""
    match = _LAST_COUNT.search(text)
    return match is not None and (
        match[1] in ("", "%", "％") or droppable(match[1]) or scale(match[1]) is not None
    )
