"""Statements whose parts do not fit together: what is found, and what people's problems must not lose."""

from __future__ import annotations

import json

import pytest

from mathloop.problems.nano import generate
from mathloop.writing.checks import wrong_with
from mathloop.writing.config import WritingConfig
from mathloop.writing.consistency import inconsistent
from tests.paths import SHARED_DATA

GSM8K = SHARED_DATA / "benchmarks/gsm8k"

FALSE = [
    "A box has 18 cards. Mia adds 8. How many eggs now?",
    "A factory makes 169 books a day. How many cards in 26 days?",
    "Eva read 5 pages. Eva read 1 more. How many pages together?",
    "Tom has 9 apples. Tom has 7 more than Tom. How many apples together?",
    "小丽有5个鸡蛋，给小丽3个。还剩几个？",
    "小明读15页，小明多读3页。一共几页？",
    "小明有8个铅笔，小明比小明少4个。一共几个？",
    "小芳走4千米，小芳走5倍。一共几千米？",
    "小丽有4个本子，小刚是小红的3倍。一共几个？",
    "小刚有21 dollars，买2个苹果，每个7元。还剩几元？",
]
TRUE = [
    "Tom has 12 apples and eats 5 of them. How many apples are left?",
    "One berry weighs 2 grams. How many grams do 40 berries weigh?",
    "Natalia sold clips to 48 friends in April. How many clips did she sell?",
    "A baker has 3 trays of 12 muffins. How many more muffins does he need for 50?",
    "Mia read 5 pages. Leo read 1 more. How many pages together?",
    "小红和小明去钓鱼，小红钓了27条鱼，小明钓的比小红多钓9条鱼，小明钓了多少条？",
    "小林妈妈有98元，给小林买书包花了26元，还剩下多少元？",
    r"求$\frac{1}{2}\times 4$的值，x的单位是cm，结果是多少？",
]


@pytest.mark.parametrize("statement", FALSE)
def test_parts_that_do_not_fit_are_found(statement: str) -> None:
    assert inconsistent(statement)


@pytest.mark.parametrize("statement", TRUE)
def test_parts_that_fit_pass(statement: str) -> None:
    assert inconsistent(statement) == ""


def test_it_is_a_setting_and_drops_with_its_reason() -> None:
    assert wrong_with(FALSE[0], "en", WritingConfig()) == ""
    reason = wrong_with(FALSE[0], "en", WritingConfig(consistent=True))
    assert reason == "inconsistent: it asks for something that it does not mention"


def test_no_problem_of_the_nano_world_is_dropped() -> None:
    # The check knows nothing of the world's grammar, whose problems are all well-posed.
    problems = [one.problem for one in generate("train", 500, 3, chinese_share=0.5)]
    assert [one.problem for one in problems if inconsistent(one.problem)] == []


@pytest.mark.skipif(not GSM8K.is_dir(), reason="the shared data is not here")
def test_few_of_the_problems_that_people_wrote_are_dropped() -> None:
    rows = [json.loads(line) for path in GSM8K.iterdir() for line in path.open(encoding="utf-8")]
    dropped = sum(bool(inconsistent(row["question"])) for row in rows)
    assert len(rows) == 1319
    assert dropped < 60  # 53: boys and girls, of whom it is asked how many children
