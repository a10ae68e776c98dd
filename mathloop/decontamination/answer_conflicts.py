"""Whether the known final answers of two problems rule out that they are the same problem."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from math import isclose, nan, pi
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.normalization import compact

_FRACTION = re.compile(r"\\[dtc]?frac\s*\{?\s*(-?\d+)\s*\}?\s*\{?\s*(\d+)\s*\}?|(-?\d+)\s*/\s*(\d+)")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?|-?\.\d+")
_PLAIN = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_LETTER = re.compile(r"\s*(?:\\text\w*\{)?\s*\(?([A-K])\)?[.:]?\s*\}?\s*")
"""A choice without its text."""
_CHOICE = re.compile(r"(?<![A-Za-z0-9])\(?([A-K])\s*[).:、．]\s*")
"""Where a choice's text begins in a statement."""
_COUNTED = re.compile(r"\s*-?[\d.,]*\d\s*\([A-Za-z ]{2,}\)[.]?\s*")
_TOLERANCE = 1e-6
_LONGEST = 200
"""Characters; a longer answer is a text and not a value."""
_LONGEST_SOLUTION = 20_000
_ROUNDED = 5e-3
"""Relative difference that rounding may cause."""
_NOTATIONS = (1.0, 100.0, 0.01, pi, 1 / pi, 180 / pi, pi / 180)
_MOST_NUMBERS, _NO_NUMBER = 4, -1e300
"""Numbers kept per answer; the placeholder for an answer without numbers."""

Values = npt.NDArray[np.float64]


def share_no_number(one: str | None, other: str | None) -> bool:
    """Whether two known answers have no number in common, where both have some or one is just a number.

    False for two spellings of one answer (1/2 and 0.5, 45 and 45\\pi), for answers in words only and for
    unknown answers.
    """
    if not _is_short(one) or not _is_short(other):
        return False
    ours, theirs = _numbers(one), _numbers(other)
    if not (ours and theirs) and not (_is_number(one) or _is_number(other)):
        return False
    return not any(_close(left, right) for left in ours for right in theirs)


def known_answer(answer: str | None, statement: str) -> str | None:
    """The answer; for the letter of a choice its text in the statement, or None if it is not there."""
    letter = None if answer is None else _LETTER.fullmatch(answer)
    if letter is None:
        return answer
    marks = list(_CHOICE.finditer(statement))
    ends = [*(mark.start() for mark in marks[1:]), len(statement)]
    texts = [
        statement[mark.end() : end] for mark, end in zip(marks, ends, strict=True) if mark[1] == letter[1]
    ]
    return texts[0].strip(" ,;.\n") or None if len(texts) == 1 else None


def disagree(one: str | None, other: str | None) -> bool:
    """Whether the verifier finds that two known answers differ, in any notation.

    False for unknown answers; for values that differ only by rounding, a degree sign, a percent sign or a
    factor of pi; for a number with a noun: 9 (apples); and for a worked solution that contains the other
    answer. Takes a few milliseconds; prefers "differ" where the verifier cannot decide.
    """
    if not one or not other or one == other:
        return False
    short, long = sorted((one, other), key=lambda answer: (len(answer), answer))
    if len(short) > _LONGEST:
        return False
    return not _contains(short, long) if len(long) > _LONGEST else _verifiably_disagree(short, long)


def _contains(answer: str, solution: str) -> bool:
    if len(solution) > _LONGEST_SOLUTION:
        return True  # unknown
    wanted, found = _numbers(answer), _numbers(solution)
    if wanted:
        return all(any(_close(one, other) for other in found) for one in wanted)
    return "".join(answer.lower().split()).strip("$.") in "".join(solution.lower().split())


@lru_cache(1 << 14)
def _verifiably_disagree(one: str, other: str) -> bool:
    # Imported here: few rows get this far, and a worker process starts faster without it.
    from mathloop.answers import verify

    if verify(one, other, strict=False).correct:
        return False
    if (_COUNTED.fullmatch(one) or _COUNTED.fullmatch(other)) and _numbers(one) == _numbers(other):
        return False
    ours, theirs = _constant(one), _constant(other)
    return (
        ours is None
        or theirs is None
        or not any(
            isclose(ours * factor, theirs, rel_tol=_ROUNDED, abs_tol=_TOLERANCE) for factor in _NOTATIONS
        )
    )


@lru_cache(1 << 14)
def _constant(answer: str) -> float | None:
    from mathloop.answers.constants import value_of

    return value_of(answer)


def values(answers: Iterable[str | None]) -> Values:
    """[answers] The value of each answer that is just a number, else NaN."""
    return np.fromiter(map(_value, answers), np.float64)


def possible_values(answers: Iterable[str | None]) -> Values:
    """[answers, 4] The numbers of each answer, padded with NaN; all NaN if unknown or too many."""
    numbers = [_numbers(answer) or [_NO_NUMBER] if _is_short(answer) else [] for answer in answers]
    rows = [row if len(row) <= _MOST_NUMBERS else [] for row in numbers]
    padded = [row + [nan] * (_MOST_NUMBERS - len(row)) for row in rows]
    return np.array(padded, np.float64).reshape(-1, _MOST_NUMBERS)


def rule_out(ours: Values, theirs: Values) -> npt.NDArray[np.bool_]:
    """[pairs] Whether `values` of one side and `possible_values` of the other show that `share_no_number`."""
    differ = _differ(ours, theirs[:, 0])
    several = np.flatnonzero(differ & ~np.isnan(theirs[:, 1]))
    for column in range(1, _MOST_NUMBERS):
        others = theirs[several, column]
        differ[several] &= np.isnan(others) | _differ(ours[several], others)
    return differ


def _differ(ours: Values, theirs: Values) -> npt.NDArray[np.bool_]:
    largest = np.maximum(np.maximum(np.abs(ours), np.abs(theirs)), 1.0)
    return np.asarray(np.abs(ours - theirs) > _TOLERANCE * largest)


@lru_cache(1 << 14)
def _value(answer: str | None) -> float:
    if not _is_short(answer):
        return nan
    if _PLAIN.fullmatch(answer):
        return float(answer)
    return _numbers(answer)[0] if _is_number(answer) else nan


def _is_short(answer: str | None) -> TypeGuard[str]:
    return answer is not None and 0 < len(answer) <= _LONGEST


@lru_cache(1 << 14)
def _numbers(answer: str) -> list[float]:
    answer = compact(answer.replace("−", "-"))
    found = []
    for a, b, c, d in _FRACTION.findall(answer):
        below = int(b or d)
        if below:
            found.append(int(a or c) / below)
    return found + [float(number) for number in _NUMBER.findall(_FRACTION.sub(" ", answer))]


@lru_cache(1 << 14)
def _is_number(answer: str) -> bool:
    rest = _NUMBER.sub("", _FRACTION.sub("", compact(answer.replace("−", "-"))), count=1)
    return len(_numbers(answer)) == 1 and not rest.strip(" $%.°\\{}()[]")


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= _TOLERANCE * max(1.0, abs(one), abs(other))
