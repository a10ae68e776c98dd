"""The nano world judges what is written in it, and its corpus teaches writing by the templates' prompts."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from mathloop.corpus.config import CorpusConfig
from mathloop.corpus.write import write_documents
from mathloop.corpus.writing_exercises import BACK, PROMPTS, exercise
from mathloop.problems.nano import generate
from mathloop.problems.nano_grammar import is_reserved, judge_statement
from mathloop.records import Problem
from mathloop.writing.checks import wrong_with
from mathloop.writing.config import WritingConfig
from mathloop.writing.templates import load_template, template_names


def test_every_generated_problem_is_well_posed_with_its_gold_answer() -> None:
    for split in ("train", "benchmark"):
        for nano in generate(split, 400, 3):
            verdict = judge_statement(nano.problem.problem)
            assert verdict.well_posed, (nano.problem, verdict)
            assert verdict.reason.endswith(f"answer {nano.problem.answer}")
            assert is_reserved(nano.problem.problem) == (split == "benchmark")


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("Tom has 5 apples and gives Mia 9. How many apples are left?", "loss: a result below 0"),
        ("Tom has 5 apples and gives Tom 2. How many apples are left?", "Tom is two people at once"),
        ("Tom has 5 apples and gives Mia 2. How many pens are left?", "no wording of the nano world"),
        ("Tam has 5 apples and gives Mia 2. How many apples are left?", "'Tam' is no name of the nano world"),
        ("Tom has 5 appls and buys 2 more. How many appls now?", "'appls' is no thing of the nano world"),
        ("Tom has 0 apples and buys 2 more. How many apples now?", "a number is 0"),
        ("小明有5个苹果，丢了7个。还剩几个？", "loss: a result below 0"),
    ],
)
def test_what_is_not_well_posed_has_its_reason(statement: str, reason: str) -> None:
    verdict = judge_statement(statement)
    assert not verdict.well_posed
    assert verdict.reason == reason


def test_exercises_teach_well_posed_problems_that_pass_the_checks_of_their_operation() -> None:
    rng, seen = random.Random(0), Counter[str]()
    for nano in generate("train", 600, 5):
        one = exercise(nano, rng)
        seen[one.operation] += 1
        assert judge_statement(one.statement).well_posed, one
        assert not is_reserved(one.statement)
        assert not wrong_with(one.statement, one.language, WritingConfig()), one
        if one.operation not in ("nano_write", "back"):
            parent = Problem("parent", one.prompt.partition(": ")[2] or one.prompt.partition("：")[2])
            assert judge_statement(parent.problem).well_posed
            reason = load_template(one.operation).does.check([parent], one.statement)
            assert not reason, (one, reason)
    assert set(seen) == {*PROMPTS, "back"}


def test_the_prompts_are_those_of_the_templates() -> None:
    nano = {name for name in template_names() if name.startswith("nano_")}
    assert nano == {*PROMPTS, "nano_translate_en"}
    other_way = load_template("nano_translate_en")
    assert (other_way.prompts, other_way.back) == ({"zh": BACK}, PROMPTS["nano_translate"]["en"])
    for name, prompts in PROMPTS.items():
        template = load_template(name)
        assert template.prompts == prompts
        assert template.back == (BACK if name == "nano_translate" else "")


def test_without_exercises_the_corpus_stays_as_it_was() -> None:
    config = CorpusConfig(documents=300)
    plain = list(write_documents(config, 1))
    mixed = list(write_documents(config.model_copy(update={"writing_share": 0.5}), 1))
    assert all(row["style"] != "writing" for row in plain)
    written = [row for row in mixed if row["style"] == "writing"]
    assert 100 < len(written) < 200
    assert [row["id"] for row in mixed] == [row["id"] for row in plain]
