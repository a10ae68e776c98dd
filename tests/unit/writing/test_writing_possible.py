"""Written problems whose own solutions contradict what they ask for; a script plays the writer."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, cast

import pytest
from pydantic import ValidationError

from mathloop.problems.nano import generate
from mathloop.records import Drops, Problem, Response
from mathloop.records.drops import open_drops
from mathloop.sampling.prompts import INSTRUCTIONS
from mathloop.writing.cache import Cache
from mathloop.writing.config import WritingConfig
from mathloop.writing.drafts import Drafts
from mathloop.writing.possible import (
    NEGATIVE,
    asks_for_a_quantity,
    possible,
    prints_less_than_zero,
)
from mathloop.writing.writers import SamplerWriter
from pipelines.profile import load_profile
from tests.paths import SHARED_DATA
from tests.unit.writing.standins import ScriptedWriter

BENCHMARKS = SHARED_DATA / "benchmarks"
POOR = Problem("poor", "Eva has 3 dollars and buys 2 eggs for 5 each. How much is left?")
RICH = Problem("rich", "Eva has 30 dollars and buys 2 eggs for 5 each. How much is left?")
DEBT = Problem("debt", "What is 3 - 2 * 5?")
CONFIG = WritingConfig(programs=4)


def response(printed: object, answer: object = 7) -> str:
    program = "Let Python compute it.\n```python\nprint(…)\n```\n"
    return f"{program}```output\n{printed}\n```\nIt is \\boxed{{{answer}}}."


def kept(
    folder: Path,
    printed: dict[str, list[object]],
    problems: tuple[Problem, ...] = (POOR, RICH, DEBT),
    config: WritingConfig = CONFIG,
) -> tuple[list[str], ScriptedWriter, Drops]:
    """The ids that pass where programs print, for each problem's statement, one thing after another."""
    streams: dict[str, Iterator[object]] = {name: iter(values) for name, values in printed.items()}

    def script(prompt: str) -> str:
        statement, _, instruction = prompt.partition("\n")
        assert instruction == INSTRUCTIONS["tir"]
        return response(next(streams[statement]))

    writer = ScriptedWriter(script)
    with Cache(folder) as cache, open_drops(folder / "dropped.jsonl") as drops:
        drafts = Drafts(writer, cache, config, 0, lambda _: None)
        return [one.id for one in possible(iter(problems), drafts, config, drops)], writer, drops


def test_half_of_the_programs_below_zero_drop_a_problem_with_the_reason(tmp_path: Path) -> None:
    printed = {POOR.problem: [-7, 7, "-7.0", 7], RICH.problem: [20, -20, 20, 20]}
    found, _, drops = kept(tmp_path, printed)
    assert found == ["rich", "debt"]  # whose question is for no quantity: it is not even solved
    assert drops.counts == {NEGATIVE: 1}
    row = json.loads((tmp_path / "dropped.jsonl").read_text())
    assert (row["id"], row["programs"], row["below_zero"]) == ("poor", 4, 2)


def test_a_higher_share_keeps_it(tmp_path: Path) -> None:
    strict = CONFIG.model_copy(update={"negative": 0.75})
    found, *_ = kept(tmp_path, {POOR.problem: [-7, 7, -7, 7]}, (POOR,), strict)
    assert found == ["poor"]


def test_programs_are_kept_apart_from_votes_and_asked_for_once(tmp_path: Path) -> None:
    printed = {POOR.problem: [-7] * 4, RICH.problem: [20] * 4}
    first, writer, _ = kept(tmp_path, printed)
    assert Counter(prompt.partition("\n")[0] for prompt in writer.asked) == {POOR.problem: 4, RICH.problem: 4}
    again, resumed, _ = kept(tmp_path, {})
    assert again == first
    assert resumed.asked == []
    with Cache(tmp_path) as cache:
        voter = ScriptedWriter(lambda _: "a vote")
        prompt = f"{POOR.problem}\n{INSTRUCTIONS['tir']}"
        (text,) = Drafts(voter, cache, CONFIG, 0, lambda _: None).texts([prompt], [0])
    assert text.text == "a vote"


def test_a_policy_draws_them_with_its_tool() -> None:
    class Sampler:
        modes: ClassVar[list[str]] = []

        def fits(self, problem: Problem, mode: str) -> bool:
            self.modes.append(mode)
            return True

        def sample(self, problems: list[Problem], *, mode: str, **_: object) -> list[Any]:
            self.modes.append(mode)
            answers = [
                Response(one.id, 0, "tir", response(-7), "7", finish_reason="stop") for one in problems
            ]
            return [SimpleNamespace(response=one) for one in answers]

    writer = SamplerWriter(cast(Any, Sampler()), "digest")
    ((found,),) = writer.write([POOR.problem], 1.0, 0, "tir")
    assert prints_less_than_zero(found[1].text)
    assert Sampler.modes == ["tir", "tir"]


def test_a_gold_answer_changes_nothing(tmp_path: Path) -> None:
    printed = {POOR.problem: [-7] * 4, RICH.problem: [20] * 4}
    for answer in (None, "-7", "7"):
        problems = tuple(Problem(one.id, one.problem, answer) for one in (POOR, RICH, DEBT))
        (tmp_path / f"{answer}").mkdir()
        assert kept(tmp_path / f"{answer}", printed, problems)[0] == ["rich", "debt"]


@pytest.mark.parametrize(
    ("text", "below"),
    [
        (response(-7), True),
        (response("−7"), True),
        (response("-0.5"), True),
        (response("-1/2"), True),
        (response("left:\n-3"), True),
        (response("-3\n3"), False),
        (response(0), False),
        (response("-0.0"), False),
        (response("x - 3"), False),
        (response(""), False),
        (response("7", answer=-7), False),  # a program computes, words may be wrong
        (response(-7) + response(7), False),  # the last program counts
        ("It is \\boxed{-7}.", False),
    ],
)
def test_what_the_last_program_prints_last_counts(text: str, below: bool) -> None:
    assert prints_less_than_zero(text) is below


@pytest.mark.parametrize(
    ("statement", "asks"),
    [
        ("How many apples are left?", True),
        ("Mia pays 20. how much change?", True),
        ("还剩几个？", True),
        ("一共多少千米？", True),
        ("Find x if x + 3 = 1.", False),
        ("How many degrees is it at night?", False),
        ("夜里的气温是多少度？", False),
        ("x的值是多少？", False),
        ("这个几何数列的公比是什么？", False),
    ],
)
def test_what_a_quantity_is(statement: str, asks: bool) -> None:
    assert asks_for_a_quantity(statement) is asks


def test_every_question_of_the_nano_world_is_for_a_quantity() -> None:
    problems = [one.problem for one in generate("train", 300, 3, chinese_share=0.5)]
    assert [one.problem for one in problems if not asks_for_a_quantity(one.problem)] == []


@pytest.mark.skipif(not BENCHMARKS.is_dir(), reason="the shared data is not here")
def test_no_problem_of_people_that_asks_for_a_quantity_has_an_answer_below_zero() -> None:
    asking = negative = 0
    for path in sorted(BENCHMARKS.glob("*/test.jsonl")):
        for row in map(json.loads, path.open(encoding="utf-8")):
            statement = str(row.get("question") or row.get("problem") or row.get("Question") or "")
            gold = str(row.get("answer") or row.get("Answer") or "").rpartition("####")[2].strip(" $")
            below = re.match(r"-\s*\d", gold) is not None
            negative += below
            asking += asks_for_a_quantity(statement)
            assert not (below and asks_for_a_quantity(statement)), statement
    assert asking > 1_500
    assert negative > 30


def test_a_writer_behind_an_endpoint_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"runs no programs: set writing\.programs to 0"):
        WritingConfig(endpoint="http://127.0.0.1:9", programs=4)


def test_it_is_off_by_default_and_on_where_nano_problems_become_a_corpus() -> None:
    assert WritingConfig().programs == 0
    assert load_profile("reproduce").writing.programs == 4
