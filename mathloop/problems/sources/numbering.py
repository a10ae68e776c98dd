"""Whether a data set counts the choices of its problems from 0 or from 1: its answers tell, or do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from mathloop.problems.sources.choices import number_of, read_choices, read_labels
from mathloop.problems.sources.layouts import Layout
from mathloop.problems.sources.places import Row, values_at


class Numbering(NamedTuple):
    """How the right choices of a data set are numbered."""

    first: int
    """The number of choice A: 0 or 1."""
    reason: str
    """Why this is assumed, for people."""
    told: bool = True
    """Whether the answers tell it, and not against each other."""


_TOLD_ZERO = Numbering(0, "from 0, as an answer is 0")
_TOLD_ONE = Numbering(1, "from 1, as an answer is the number of choices and none is 0")
_BOTH = Numbering(0, "from 0, as an answer is 0; but another one is the number of choices", told=False)
_UNTOLD = Numbering(
    0,
    "from 0, which no answer tells (none is 0 or the number of choices); write letters if they are from 1",
    told=False,
)


def has_number(row: Row, layout: Layout) -> bool:
    """Whether a row names its right choice by a number, which could be from 0 or from 1."""
    return any(True for _ in _numbers(row, layout))


def numbering(rows: Iterable[tuple[Row, Layout]]) -> Numbering:
    """The numbering of these rows: an answer of 0 tells, or one that is the number of choices.

    Rows are read up to the first 0 of a row without a contradiction before it, so a data set that counts from
    1 is read whole.
    """
    last = False
    for row, layout in rows:
        for number, count in _numbers(row, layout, telling=True):
            if number == 0:
                return _BOTH if last else _TOLD_ZERO
            last = last or number == count
    return _TOLD_ONE if last else _UNTOLD


def _numbers(row: Row, layout: Layout, *, telling: bool = False) -> Iterator[tuple[int, int]]:
    """The numbers in a row's answer with the number of its choices; `telling` ones are no choice's text."""
    answer = next(values_at(row, layout.answer), None)
    answers: list[Any] = answer if isinstance(answer, list) else [answer]
    numbers = [number for number in map(number_of, answers) if number is not None]
    options = next(values_at(row, layout.choices), None) if numbers else None
    if options is None:
        return
    try:
        choices, labels = read_choices(options), read_labels(options)
    except ValueError:
        return
    if not labels:
        yield from ((number, len(choices)) for number in numbers if not (telling and str(number) in choices))
