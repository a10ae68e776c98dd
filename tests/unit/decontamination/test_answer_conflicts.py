"""Known answers: pairs that they rule out, honest rephrasings and real problems that stay."""

from __future__ import annotations

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from mathloop.decontamination.answer_conflicts import (
    disagree,
    known_answer,
    possible_values,
    rule_out,
    share_no_number,
    values,
)
from mathloop.decontamination.batches import Passage
from mathloop.decontamination.index import Index
from mathloop.decontamination.items import Item
from mathloop.decontamination.matching import Match, find_matches
from tests.paths import SHARED_DATA

REPHRASED = Path(__file__).with_name("rephrased.jsonl")
"""Problems of the benchmarks in other words, with other names of variables."""


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("72", "72.0", False),
        ("72", "73", True),
        ("\\frac{1}{2}", "0.5", False),
        ("\\frac12", "1/3", True),
        ("$28$", "28", False),
        ("10,000", "10{,}000", False),
        ("(5,100)", "(5, 100)", False),
        ("[-500,500]", "500500", True),
        ("45\\pi", "46", True),
        ("45\\pi", "45", False),
        ("x + 1", "y", False),
        ("", "3", False),
        (None, "3", False),
    ],
)
def test_answers_without_a_common_number_conflict(one: str | None, other: str, differ: bool) -> None:
    assert share_no_number(one, other) is share_no_number(other, one) is differ


@pytest.mark.parametrize(
    ("one", "other", "differ"),
    [
        ("2\\sqrt{3}", "\\frac{\\sqrt{2}}{6}", True),
        ("2\\sqrt{3}", "\\sqrt{12}", False),
        ("$k=1$", "1", False),
        ("0.333", "\\frac13", False),
        ("45^\\circ", "45", False),
        ("\\frac{\\pi}{4}", "45", False),
        ("50\\%", "50", False),
        ("45\\pi", "45", False),
        ("p - q", "s - t", False),
        ("(1, 2)", "(1, 3)", True),
        ("9 (apples)", "9.0", False),
        ("9 (apples)", "8", True),
        ("$x-1$", "x + 1", True),
        ("$(x-1)(x+1)$", "x^2-1", False),
        ("\\text{east}", "7", True),
        ("\\text{east}", "East", False),
        ("1" * 100_000, "7", False),
        ("6", "He has 12 - 3 = 9 eggs. " * 10, True),
        ("9", "He has 12 - 3 = 9 eggs. " * 10, False),
        (None, "7", False),
    ],
)
def test_answers_disagree_where_the_verifier_finds_a_difference(
    one: str | None, other: str, differ: bool
) -> None:
    assert disagree(one, other) is disagree(other, one) is differ


ANSWERS = [
    "72",
    "72.0",
    "-3",
    "1,000",
    "$18$",
    "\\frac12",
    "0.5",
    "3\\pi",
    "x + 1",
    "(1, 2)",
    "1 2 3 4 5",
    "no",
    "",
    None,
]


def test_answers_that_a_batch_rules_out_share_no_number() -> None:
    ruled_out = 0
    for one, other in product([*ANSWERS, "9" * 400, "1e5"], repeat=2):
        out = bool(rule_out(values([one]), possible_values([other]))[0])
        assert not out or share_no_number(one, other), (one, other)
        ruled_out += out
    assert rule_out(values(["7", "7"]), possible_values(["8", "no"])).all()
    assert ruled_out > len(ANSWERS)


def test_the_letter_of_a_choice_is_its_text_in_the_statement() -> None:
    statement = "Which is prime? (A) $4$ (B) $7$ (C) 9"
    assert [known_answer(answer, statement) for answer in ("B", "(C)", "K", "7", None)] == [
        "$7$",
        "9",
        None,
        "7",
        None,
    ]


def rows(name: str) -> list[dict[str, Any]]:
    (path,) = SHARED_DATA.glob(f"benchmarks*/{name}/*.jsonl")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def item(name: str, row: dict[str, Any]) -> Item:
    answer = row.get("final_answer", row.get("answer"))
    if row.get("options"):
        answer = row["options"].get(row["label"]) if isinstance(row["label"], str) else None
    elif row.get("choices"):
        answer = row["choices"][answer]
    elif isinstance(answer, list):
        answer = answer[0] if len(answer) == 1 else None
    text = row.get("problem") or row.get("content") or row["question"]
    return Item(name, text, None if answer is None else str(answer))


def find(index: Index, passages: list[Passage]) -> list[Match | None]:
    rules = index.rules(["rephrased"], lcs_ratio=0.6, structure_ratio=0.65, likeness=0.6)
    return find_matches([[passage] for passage in passages], rules, index.items)


needs_data = pytest.mark.skipif(
    not (SHARED_DATA / "benchmarks_raw").is_dir(), reason="the benchmarks' files are not beside the checkout"
)
OTHERS = ("math500", "olympiadbench", "gaokao2023en", "mmlu_stem", "minerva_math", "amc23", "aime24")


@needs_data
def test_real_problems_with_other_formulas_or_answers_stay() -> None:
    others = [item(name, row) for name in OTHERS for row in rows(name)]
    sets = {name: [item(name, row) for row in rows(name)] for name in ("college_math", "carp_en")}
    for name, other in (("college_math", "carp_en"), ("carp_en", "college_math")):
        index = Index.build([*others, *sets[other]], ngram=13)
        own = [Passage(each.text, True, each.answer) for each in sets[name][::5]]
        assert sum(match is not None for match in find(index, own)) < 0.01 * len(own)


@needs_data
def test_rephrased_problems_with_equal_answers_are_found() -> None:
    told = [json.loads(line) for line in REPHRASED.read_text(encoding="utf-8").splitlines()]
    sets = {name: [item(name, row) for row in rows(name)] for name in {row["benchmark"] for row in told}}
    index = Index.build([each for items in sets.values() for each in items], ngram=13)
    originals = [sets[row["benchmark"]][row["row"]] for row in told]
    for known in (True, False):
        texts = [
            Passage(row["rephrased"], True, original.answer if known else None)
            for row, original in zip(told, originals, strict=True)
        ]
        assert sum(match is not None for match in find(index, texts)) >= 0.92 * len(told)


SHORT = "How many cookies are in each of 4 bags, if 36 cookies are in all bags and each has equally many?"
PARABOLA = "已知抛物线 $C: y^{2}=2 p x(p>0)$ 的准线与 $x$ 轴交于 $M$, 过 $M$ 的直线与 $C$ 相切于 $A$, "
CHOICE = (
    "请完成下面一道选择题，在每小题给出的选项中，有一项或多项符合题目要求，请选出所有你认为正确的选项。\n"
)


@pytest.mark.parametrize(
    ("item", "text", "answers", "same"),
    [
        # One step, the same two numbers and answer: the things must be the same.
        (SHORT, "What number multiplied by 4 equals 36?", ("9", "9"), False),
        (SHORT, "Of 36 cookies each of 4 bags has equally many. How many cookies has one?", ("9", "9"), True),
        # An answer is missing: numbers that agree are not enough.
        (
            "Peter has 15 birds. 1/3 are ducks, the rest hens that need food for $2 each. What does it cost?",
            "Shiela must write a 15-page paper. She finished 1/3 of it in 2 days. How many pages are left?",
            (None, "10"),
            False,
        ),
        (
            "Peter has 15 birds. 1/3 are ducks, the rest hens that need food for $2 each. What does it cost?",
            "Of Peter's 15 birds a third are ducks, the others hens. Food is $2 per hen. What is the cost?",
            (None, "20"),
            True,
        ),
        (
            PARABOLA + "求直线的方程.",
            "已知抛物线 $C: y^{2}=2 p x(p>0)$ 的焦点为 $F$, 求 $p$ 的值",
            (None, None),
            False,
        ),
        # How to choose is no part of a problem.
        (
            CHOICE + "函数 $f(x) = \\sin 2x$ 有：\nA. 零点 $0$\nB. 最大值 $1$",
            CHOICE + "抛物线 $y^2 = 2x$ 上有：\nA. 点 $(0, 0)$\nB. 点 $(2, 2)$",
            (None, None),
            False,
        ),
    ],
)
def test_little_in_common_is_no_rephrasing(
    item: str, text: str, answers: tuple[str | None, str | None], same: bool
) -> None:
    index = Index.build([Item("bench", item, answers[0])], ngram=13)
    assert [match is not None for match in find(index, [Passage(text, True, answers[1])])] == [same]


def test_equal_answers_do_not_make_two_short_equations_one_problem() -> None:
    item = "How many solutions does the equation $4(x-2)=-2(x+4)$ have?"
    index = Index.build([Item("bench", item, "1")], ngram=13)
    other = "Solve the equation: $4-|x|=2 x+1$"
    same = "Find the number of solutions of $4(y-2) = -2(y+4)$."
    assert [
        match is not None for match in find(index, [Passage(other, True, "1"), Passage(same, True, "1")])
    ] == [
        False,
        True,
    ]
