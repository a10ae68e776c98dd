"""Sixteen times the text takes about sixteen times as long, whatever is repeated in it."""

from __future__ import annotations

import math
import time

import pytest

from mathloop.answers import verify, verify_response
from mathloop.answers.normal_form import normal_form

SHORT, LONG = 5_000, 80_000
"""Characters."""
MOST = 60
"""Ratio of the CPU times: a linear step has 16, a quadratic one 256, and other load moves neither so far."""
LEAST_SECONDS = 0.0005
"""A text that takes less is not worth comparing."""
TURNS = 12
"""Other load only adds to a time: the least of some turns counts, of more turns where that is too much."""

REPEATED = {
    "spaces after a cue": ("The answer is", " ", "^ 5"),
    "spaces between words": ("north", " ", "west"),
    "spaces after a cue and before words": ("The answer is", " ", "north by east"),
    "spaces before a degree": ("45", " ", "^\\circ"),
    "lines": ("The answer is 5", "\n", "5"),
    "one word": ("", "x", ""),
    "one number": ("", "7", ""),
    "words": ("So ", "word ", "is 5"),
    "numbers": ("The answer is ", "5 ", "."),
    "expression around a number": ("所以 ", "1 + ", "5"),
    "dollars": ("", "$", "5"),
    "formulas": ("", "$x$ ", "5"),
    "open display formulas": ("", "\\[", "5"),
    "open boxes": ("", "\\boxed{", "5"),
    "closed boxes": ("", "\\boxed{5} ", ""),
    "stars": ("", "**", "5**"),
    "cues": ("", "the answer is ", "5"),
    "hashes": ("", "#### ", "5"),
    "brackets": ("", "(", "5"),
    "commas": ("5", ",", "6"),
    "commands": ("", "\\text{a b", "}"),
    "Chinese": ("所以", "答", "是5"),
    "Chinese numerals": ("答：", "十", "个"),
    "Chinese commas": ("因为x", "，所以", "x是5"),
    "answer tags": ("", "<answer>", "5"),
    "choices": ("", "A, ", "B"),
    "units": ("5 ", "cm ", "long"),
    "accents": ("", "½⅓", ""),
    "powers": ("x", "²", ""),
    "copulas": ("It ", "is = ", "5"),
    "letters before a box": ("", "a_", "\\boxed{5}"),
    "conditions": ("x ", "for n, ", "5"),
    "words after a box": ("\\boxed{5}. But ", "there is ", "no solution"),
    "numbers after a box": ("\\boxed{5}. But ", "3 is invalid, ", "5"),
    "people before an answer": ("", "some people ", "think 5"),
    "operators around a box": ("2 + ", "2 + ", "\\boxed{5}"),
    "sums": ("x ", "plus x ", "is 5"),
    "cues with ifs": ("", "if x, the answer is 5, but ", "5"),
    "objects": ("", "{", '"answer": 5}'),
    "fields": ("{", '"answer": 5, ', '"b": 6}'),
    "items": ("", "1. a\n", "2."),
    "remarks": ("x = 5", " (x = 6 is ", "rejected)"),
    "remainders": ("quotient ", "remainder ", "5"),
    "entities": ("", "&lt; ", "5"),
    "glued numbers": ("So it is ", "2^", "2"),
    "rejected values": ("x = 5", ", x = 6 (rejected)", ""),
}


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", REPEATED)
@pytest.mark.parametrize(
    "grade",
    [
        lambda text: verify_response("5", text),
        lambda text: verify("5", text),
        lambda text: verify(text, "5"),
        lambda text: normal_form(text),
    ],
    ids=["response", "answer", "gold", "vote"],
)
def test_time_grows_with_the_text(kind: str, grade: object) -> None:
    short = long = math.inf
    for turn in range(TURNS):
        short = min(short, _seconds(grade, kind, SHORT, turn))
        long = min(long, _seconds(grade, kind, LONG, turn))
        if turn >= 1 and long < MOST * max(short, LEAST_SECONDS):
            return
    pytest.fail(f"{short:.4f} s, then {long:.4f} s")


def _seconds(grade: object, kind: str, length: int, turn: int) -> float:
    before, unit, after = REPEATED[kind]
    text = before + unit * (length // len(unit)) + "5" * turn + after  # no two texts are the same
    started = time.process_time()
    grade(text)  # type: ignore[operator]
    return time.process_time() - started
