"""Whether the known final answers of two problems rule out that they are the same problem."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from math import isclose, nan, pi
from typing import TypeGuard

import numpy as np
import numpy.typing as npt

_FRACTION = re.compile(r"\\[dtc]?frac\s*\{?\s*(-?\d+)\s*\}?\s*\{?\s*(\d+)\s*\}?|(-?\d+)\s*/\s*(\d+)")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?|-?\.\d+")
_COMMAS = re.compile(r"(?<=\d)(?:,|\{,\}|,\\!)(?=\d{3}(?!\d))")
_PLAIN = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_TOLERANCE = 1e-6
_LONGEST = 200
"""Characters; a longer answer is a text and not a value."""
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


def differ_as_constants(one: str | None, other: str | None) -> bool:
    """Whether two known answers are constants of different value, in any notation.

    Takes a tenth of a millisecond. Values that differ only by a degree sign, a percent sign or a factor of pi
    count as equal.
    """
    if not _is_short(one) or not _is_short(other):
        return False
    ours, theirs = _constant(one), _constant(other)
    if ours is None or theirs is None:
        return False
    return not any(
        isclose(ours * factor, theirs, rel_tol=_ROUNDED, abs_tol=_TOLERANCE) for factor in _NOTATIONS
    )


@lru_cache(1 << 14)
def _constant(answer: str) -> float | None:
    # Imported here: few rows get this far, and a worker process starts faster without it.
    from mathloop.answers.constants import value_of

    return value_of(answer)


def values(answers: Iterable[str | None]) -> Values:
    """[answers] The value of each answer that is just a number, else NaN."""
    return np.array([_value(answer) for answer in answers], np.float64)


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
    answer = _COMMAS.sub("", answer.replace("−", "-"))
    found = []
    for a, b, c, d in _FRACTION.findall(answer):
        below = int(b or d)
        if below:
            found.append(int(a or c) / below)
    return found + [float(number) for number in _NUMBER.findall(_FRACTION.sub(" ", answer))]


@lru_cache(1 << 14)
def _is_number(answer: str) -> bool:
    rest = _NUMBER.sub("", _FRACTION.sub("", _COMMAS.sub("", answer.replace("−", "-"))), count=1)
    return len(_numbers(answer)) == 1 and not rest.strip(" $%.°\\{}()[]")


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= _TOLERANCE * max(1.0, abs(one), abs(other))
