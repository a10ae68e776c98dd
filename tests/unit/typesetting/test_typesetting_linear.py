"""Sixteen times the text takes about sixteen times as long to typeset, whatever is repeated in it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import pytest

from mathloop.typesetting import split_blocks, to_mathml, typeset

LONG = 6_000
"""Characters. Few, since bounds on openings hide a quadratic step in long texts."""
MOST = 60
"""Ratio of the CPU times: a linear step has 16, a quadratic one 256, and other load moves neither so far."""
LEAST_SECONDS = 0.0003
"""A text that takes less is not worth comparing."""
TURNS = 12
"""Other load only adds to a time: the least of some turns counts, of more turns where that is too much."""

REPEATED = {
    "an opening line": ("```", "x", ""),
    "spaces of an opening line": ("```", " ", "!"),
    "openings in a line": ("", "```x", ""),
    "backticks": ("", "`", ""),
    "openings and lines": ("", "```\n", ""),
    "an open block": ("```\n", "\n`", ""),
    "open boxes": ("", "\\boxed{", ""),
    "closed boxes": ("", "\\boxed{5} ", ""),
    "boxes in boxes": ("", "\\boxed{{", "}}"),
    "spaces of a box": ("\\boxed", " ", "5"),
    "dollars": ("", "$", ""),
    "open dollars": ("", "$ x ", ""),
    "open formulas": ("", "\\(", ""),
    "open display formulas": ("", "\\[ ", ""),
    "open environments": ("", "\\begin{align}", ""),
    "lines": ("$x", "\n \t", "$"),
    "backslashes": ("", "\\", ""),
}


@pytest.mark.parametrize("kind", REPEATED)
@pytest.mark.parametrize("work", [typeset, split_blocks])
def test_time_grows_with_the_text(work: Callable[[str], object], kind: str) -> None:
    _compare(work, *REPEATED[kind], LONG)


@pytest.mark.parametrize(
    ("before", "unit", "after"),
    [("\\tag", " ", "5"), ("\\begin{array}", " ", "x"), ("", "\\tag{", ""), ("", "\\begin{array}{", "")],
)
def test_time_grows_with_the_formula(before: str, unit: str, after: str) -> None:
    _compare(to_mathml, before, unit, after, 1_800)


def _compare(work: Callable[[str], object], before: str, unit: str, after: str, length: int) -> None:
    texts = [before + unit * (count // len(unit)) + after for count in (length // 16, length)]
    short = long = math.inf
    for turn in range(TURNS):
        short, long = (
            min(least, _seconds(work, text)) for least, text in zip((short, long), texts, strict=True)
        )
        if turn >= 1 and long < MOST * max(short, LEAST_SECONDS):
            return
    pytest.fail(f"{short:.4f} s, then {long:.4f} s")


def _seconds(work: Callable[[str], object], text: str) -> float:
    started = time.process_time()
    work(text)
    return time.process_time() - started
