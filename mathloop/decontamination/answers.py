"""Whether two problems can be one, by the final answers that are known of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

_FRACTION = re.compile(r"\\[dtc]?frac\s*\{?\s*(-?\d+)\s*\}?\s*\{?\s*(\d+)\s*\}?|(-?\d+)\s*/\s*(\d+)")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?|-?\.\d+")
_COMMAS = re.compile(r"(?<=\d)(?:,|\{,\}|,\\!)(?=\d{3}(?!\d))")

_PLAIN = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_TOLERANCE = 1e-6


def contradict(one: str | None, other: str | None) -> bool:
    """Whether two known answers have no number in common, though both have some or one is nothing else.

    Two spellings of an answer, as 1/2 and 0.5, or 45 and 45\\pi, do not contradict each other; nor do answers
    in words alone, or an unknown one.
    """
    if not one or not other:
        return False
    ours, theirs = _numbers(one), _numbers(other)
    if not (ours and theirs) and not (_is_number(one) or _is_number(other)):
        return False
    return not any(_close(left, right) for left in ours for right in theirs)


def plain_numbers(answers: Iterable[str | None]) -> npt.NDArray[np.float64]:
    """[answers] The value of each that is a number as Python writes it, else NaN; for many at once."""
    return np.array([_plain(answer) for answer in answers], np.float64)


def differ(ours: npt.NDArray[np.float64], theirs: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """[pairs] Whether two plain numbers are known and differ: they `contradict` each other."""
    largest = np.maximum(np.maximum(np.abs(ours), np.abs(theirs)), 1.0)
    return np.abs(ours - theirs) > _TOLERANCE * largest


def _plain(answer: str | None) -> float:
    if answer is None or not _PLAIN.fullmatch(answer):
        return float("nan")
    return float(answer)


@lru_cache(1 << 14)
def _numbers(answer: str) -> list[float]:
    answer = _COMMAS.sub("", answer.replace("−", "-"))
    found = []
    for a, b, c, d in _FRACTION.findall(answer):
        below = int((b or d)[:300])
        if below:
            found.append(int((a or c)[:300]) / below)
    return found + [float(number) for number in _NUMBER.findall(_FRACTION.sub(" ", answer))]


@lru_cache(1 << 14)
def _is_number(answer: str) -> bool:
    rest = _NUMBER.sub("", _FRACTION.sub("", _COMMAS.sub("", answer.replace("−", "-"))), count=1)
    return len(_numbers(answer)) == 1 and not rest.strip(" $%.°\\{}()[]")


def _close(one: float, other: float) -> bool:
    return abs(one - other) <= _TOLERANCE * max(1.0, abs(one), abs(other))
