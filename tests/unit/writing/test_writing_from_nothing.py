"""Problems of a corpus: the model's own ones are the only parents, and none has an answer."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from mathloop.decontamination.config import DecontaminationConfig
from mathloop.errors import BadConfig
from mathloop.records import Problem, read_problems, read_rows, write_problems
from mathloop.writing import from_nothing, write
from mathloop.writing.config import WritingConfig
from tests.unit.writing.test_writing_stage import ScriptedWriter

COUNTS = ("seven", "eight", "nine", "ten", "eleven", "twelve")
RULES = DecontaminationConfig(rules=("ngram_lcs", "exact"), lcs_ratio=0.95)


def make(folder: Path, held: Problem, *templates: str) -> list[Problem]:
    folder.mkdir()
    write_problems(folder / "statements", [held])
    reports = from_nothing.run(
        policy=None,
        statements=folder / "statements",
        out=folder / "problems",
        dropped=folder / "dropped",
        work=folder,
        config=WritingConfig(templates=templates, count=6, shard=2),
        decontamination=RULES,
        seed=0,
    )
    assert [one.stage for one in reports] == ["writing", "rewriting", "decontamination_writing"]
    return list(read_problems(folder / "problems"))


@pytest.fixture(autouse=True)
def _writer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every writer that is opened writes the same stories, one after another, and rewords them."""

    def opened(*_: object) -> ScriptedWriter:
        numbers = itertools.count(5)

        def answer(prompt: str) -> str:
            if ": " in prompt:
                scene = prompt.partition(": ")[2].removeprefix("Ann packs").split(".")[0]
                return f"How many melons are in all {scene}, packed by Ann?"
            number = next(numbers)
            return f"Ann packs {number} crates of {COUNTS[number % 6]} melons. How many melons?"

        return ScriptedWriter(answer)

    monkeypatch.setattr(write, "open_writer", opened)


def test_its_own_problems_are_the_parents_and_nothing_has_an_answer(tmp_path: Path) -> None:
    held = Problem("held", "Ann packs 5 crates of twelve melons. How many melons?")
    found = make(tmp_path / "one", held, "nano_write", "nano_reword")
    assert {one.answer for one in found} == {None}
    assert held.problem not in {one.problem for one in found}
    first = [one for one in found if one.operation == "write_new"]
    rest = [one for one in found if one.operation == "reword"]
    assert first
    assert rest
    written = {row["id"] for row in read_rows(tmp_path / "one" / "writing.parquet")}
    assert {one.parent for one in rest} <= written
    reasons = {(row["stage"], row.get("id")) for row in read_rows(tmp_path / "one" / "dropped")}
    assert ("decontamination_writing", "nano_write-0-0") in reasons


def test_a_gold_answer_in_what_is_kept_out_changes_no_byte(tmp_path: Path) -> None:
    """Statements have none; even if they had one, the step would not read it."""
    for name, answer in (("none", None), ("poisoned", "poison")):
        held = Problem("held", "Ann packs 5 crates of twelve melons. How many?", answer, solution=answer)
        make(tmp_path / name, held, "nano_write", "nano_reword")
    for file in ("problems", "dropped"):
        one, other = ((tmp_path / name / file).read_bytes() for name in ("none", "poisoned"))
        assert one == other
        assert b"poison" not in other


def test_without_a_template_that_has_no_parent_it_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="a corpus begins with problems that have no parent"):
        make(tmp_path / "one", Problem("held", "x"), "nano_reword")
