"""Verdicts: is this prediction the gold answer?"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

from mathloop.answers.extraction import extract_answer
from mathloop.answers.normalization import normalize
from mathloop.answers.numbers import read_number


class Verdict(NamedTuple):
    """Whether an answer is right, why, and which rule decided."""

    correct: bool
    reason: str
    rule: str


_IDENTICAL = Verdict(True, "written the same", "identical")
_NO_ANSWER = Verdict(False, "no answer", "empty")
_NO_GOLD = Verdict(False, "no gold answer", "empty")
_SAME_NUMBER = Verdict(True, "the same number", "number")
_OTHER_NUMBER = Verdict(False, "different numbers", "number")
_UNIT = re.compile(r"\s*(?:\\?%|percent|度|元|个|只|本|页|米|千米|厘米|千克|克|人|[a-zA-Z\u4e00-\u9fff/]+)$")
_LETTER = re.compile(r"\(?([A-Z])\)?[.:]?")


def verify(gold: str, prediction: str) -> Verdict:
    """Decides whether `prediction`, an answer and not a whole response, equals `gold`.

    When in doubt it doesn't. Symmetric in its arguments; safe in any thread; always in bounded time.
    """
    if gold == prediction and gold and not gold.isspace():
        return _IDENTICAL
    left, right = normalize(gold), normalize(prediction)
    if not right:
        return _NO_ANSWER
    if not left:
        return _NO_GOLD
    if left == right:
        return Verdict(True, "the same after normalization", "normalized")
    left_value, right_value = _value(left), _value(right)
    if left_value is not None and right_value is not None:
        return _SAME_NUMBER if left_value & right_value else _OTHER_NUMBER
    left_letter, right_letter = _LETTER.fullmatch(left), _LETTER.fullmatch(right)
    if left_letter and right_letter:
        same = left_letter.group(1) == right_letter.group(1)
        return Verdict(same, "the same choice" if same else "another choice", "choice")
    return Verdict(False, "not shown to be equal", "undecided")


def verify_response(gold: str, response_text: str) -> Verdict:
    """Takes the final answer out of a whole response and verifies it; a response without one is wrong."""
    answer = extract_answer(response_text)
    return _NO_ANSWER if answer is None else verify(gold, answer)


def _value(text: str) -> frozenset[Fraction] | None:
    """The numbers that a plain answer may stand for ("10%" is 10 and 1/10), None where it isn't plain."""
    if (value := read_number(text)) is not None:
        return frozenset((value,))
    percent = text.endswith("%")
    text = _UNIT.sub("", text).strip()
    text = text.lstrip("¥€£")
    match = re.fullmatch(r"(-?)\\[cdt]?frac\s*(?:\{\s*(\d+)\s*\}|(\d))\s*(?:\{\s*(\d+)\s*\}|(\d))", text)
    if match:
        sign, *digits = match.groups()
        top, bottom = (digit for digit in digits if digit)
        text = f"{sign}{top}/{bottom}"
    value = read_number(text)
    if value is None:
        return None
    return frozenset((value, value / 100)) if percent else frozenset((value,))
