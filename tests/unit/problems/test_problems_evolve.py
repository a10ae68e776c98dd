"""Evolution by numbers: one draw per distinct number, and what is no quantity stays."""

from __future__ import annotations

import json
import random
import re
from collections import defaultdict

import pytest

from mathloop.problems.evolve import evolve
from mathloop.problems.numbers import change_numbers
from mathloop.records import Drops, Problem
from tests.paths import SHARED_DATA

GSM8K = SHARED_DATA / "train/gsm8k/train.jsonl"
NUMBER = re.compile(r"(?<![\d.,])\d{1,6}(?![\d.,]*\d)")


def changed(text: str, seed: int = 0) -> str:
    found = change_numbers(text, random.Random(seed))
    assert found is not None
    assert not found.refused
    return found.text


def shape(text: str) -> str:
    return NUMBER.sub("#", text)


@pytest.mark.parametrize("seed", range(8))
def test_a_number_has_one_new_value_wherever_it_is(seed: int) -> None:
    text = "Paul drinks 3 bottles a day. Donald drinks 3 more than twice that, and 17 on Sunday; 17 is odd."
    first, again, seventeen, other = NUMBER.findall(changed(text, seed))
    assert (first, seventeen) == (again, other)
    assert first != "3" != seventeen
    assert 2 <= int(first) <= 9 < 10 <= int(seventeen) <= 99


@pytest.mark.parametrize("seed", range(8))
def test_what_was_less_stays_less(seed: int) -> None:
    large, middle, small = map(int, NUMBER.findall(changed("Of 8 boys 4 swim, and 2 of them dive.", seed)))
    assert large > middle > small


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        ("Find x^2 + 7x at x_3 with a_{12} and b^{n+4}.", ("x^2", "x_3", "a_{12}", "b^{n+4}")),
        ("A field of 35 km2 has 46 m^2 of H2O.", ("km2", "m^2", "H2O")),
        ("On the 3rd day 45 came, on the 21st 67.", ("3rd", "21st")),
        ("He works 45 minutes, 7 days a week, 24 hours a day.", ("7 days", "24 hours")),
        ("Born in 1998, she has 45 books at 3:30 pm.", ("1998", "3:30")),
        ("She ate 3/4 of 45 pies and \\frac{2}{5} of 2 1/2.", ("3/4", "\\frac{2}{5}", "2 1/2")),
        ("Five friends have 5 pens and 45 books.", ("5 pens",)),
        ("It costs $5.00, so 5 dollars for each of 45.", ("5.00", "5 dollars")),
        ("四年级有三个班，3个班共45人，第2组。", ("3个班", "第2组")),
        ("In Grade 4, 45 boys and 1 girl.", ("Grade 4", "1 girl")),
    ],
)
def test_what_is_no_quantity_stays(text: str, stays: tuple[str, ...]) -> None:
    new = changed(text)
    assert all(part in new for part in stays), new
    assert new != text
    assert shape(new) == shape(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("40% are red and 60% are blue.", "its percentages make up 100"),
        ("Of 12 eggs 5 are brown and 7 are white.", "its numbers make up another one"),
        ("He works from 9 am to 5 pm for 30 dollars.", "it has several times of day"),
    ],
)
def test_a_statement_that_would_contradict_itself_is_refused(text: str, reason: str) -> None:
    found = change_numbers(text, random.Random(0))
    assert found is not None
    assert found.refused == reason
    drops = Drops()
    assert list(evolve([Problem("a", text, answer="1")], 5, 0, drops)) == []
    assert drops.counts == {reason: 1}


def test_a_week_keeps_its_seven_days() -> None:
    for seed in range(20):
        assert int(NUMBER.findall(changed("She runs 5 days a week, 45 weeks.", seed))[0]) <= 7


def test_without_a_number_there_is_nothing_to_change() -> None:
    assert change_numbers("Two of x^2 and 1 are 0.", random.Random(0)) is None
    assert list(evolve([Problem("a", "Prove it.", answer="1")], 5, 0, Drops())) == []


@pytest.mark.skipif(not GSM8K.exists(), reason="the shared data folder is not beside this checkout")
def test_no_evolved_problem_of_gsm8k_gives_one_number_two_values() -> None:
    rows = map(json.loads, GSM8K.read_text(encoding="utf-8").splitlines())
    problems = [Problem(str(i), row["question"], answer="1") for i, row in enumerate(rows)]
    before, drops = {p.id: p.problem for p in problems}, Drops()
    evolved = list(evolve(problems, len(problems), 0, drops))
    assert len(evolved) > 6_500
    assert drops.counts.total() < 400
    for problem in evolved:
        assert problem.parent is not None
        old, new = before[problem.parent], problem.problem
        values = defaultdict(set)
        for was, now in zip(NUMBER.findall(old), NUMBER.findall(new), strict=True):
            values[was].add(now)
        assert all(len(found) == 1 for found in values.values()), (old, new)
