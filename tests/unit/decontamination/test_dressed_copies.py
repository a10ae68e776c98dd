"""Copies of real benchmark rows in other dress: invisible and look-alike characters, no spaces, tuples."""

from __future__ import annotations

import sys
import unicodedata
from random import Random

import pytest

from mathloop.decontamination.batches import Passage
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.decontamination.index import Index
from mathloop.decontamination.items import Item
from mathloop.decontamination.look_alikes import visible
from mathloop.decontamination.matching import find_matches
from mathloop.decontamination.normalization import tokens
from mathloop.decontamination.sources import read_items
from mathloop.decontamination.stock import is_stock
from pipelines.benchmarks.contamination_data import COPIES
from tests.paths import SHARED_DATA

DATA = SHARED_DATA / "benchmarks"
COUNT = 120


def found(items: list[Item], texts: list[str]) -> list[bool]:
    config = DecontaminationConfig()
    thresholds = config.model_dump(include={"lcs_ratio", "structure_ratio", "likeness"})
    index = Index.build(items, ngram=config.ngram)
    rules = index.rules(config.rules, **thresholds)
    matches = find_matches([[Passage(text, True)] for text in texts], rules, index.items)
    return [match is not None for match in matches]


@pytest.mark.skipif(not DATA.is_dir(), reason="the benchmarks' files are not beside the checkout")
def test_every_dressed_copy_of_real_items_is_caught() -> None:
    every = read_items(sorted(DATA.glob("*/*.jsonl")))
    items = Random(19).sample([item for item in every if not is_stock(item.text)], COUNT)
    dressed = [(name, item.text, change(item.text)) for name, change in COPIES.items() for item in items]
    caught = found(items, [text for _, _, text in dressed])
    assert [row for row, is_caught in zip(dressed, caught, strict=True) if not is_caught] == []


def test_all_format_characters_are_invisible() -> None:
    every = "".join(map(chr, range(0xD800))) + "".join(map(chr, range(0xE000, sys.maxunicode + 1)))
    hidden = {letter for letter in every if unicodedata.category(letter) == "Cf"}
    assert not hidden & set(visible(every))
    assert len(every) - len(visible(every)) < 1.2 * len(hidden) + 300


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[-500,500]", "500 500"),
        ("(5,100)", "5 100"),
        ("\\left( 5,100 \\right]", "5 100"),
        ("\\{1,200,7\\}", "1 200 7"),
        ("(1,000 men)", "1000 men"),
        ("\\textbf{1,000}", "1000"),
        ("$1,000", "1000"),
        ("(10{,}000)", "10000"),
        ("sinα is not a masked word", "sin alpha is not a masked word"),
        ("an αpple, α sum", "an apple a sum"),
        ("triangle ΑΒC", "triangle abc"),
        ("Аnd сyrilliс", "and cyrillic"),
    ],
)
def test_tuples_keep_their_numbers_and_look_alikes_are_read(text: str, expected: str) -> None:
    assert " ".join(tokens(text)) == expected


def test_greek_letters_hide_no_copy_in_turns_with_latin_ones_or_without_spaces() -> None:
    items = [
        "Evaluate $(1+2i)6-3i$.",
        "The charge density σ of a plane and its radius α are given.",
        "计算：(1+1/a)÷(a^2-1)",
    ]
    copies = ["Εναlυατe $(1+2ι)6-3ι$.", items[1].replace(" ", ""), "计算：(1+1/α)÷(α^2-1)"]
    assert found([Item("bench", item) for item in items], copies) == [True, True, True]


@pytest.mark.parametrize(
    ("dress", "item"),
    [
        (
            "Greek letters",
            "若 $(2 x-1)^{4}=a_{4} x^{4}+a_{3} x^{3}+a_{2} x^{2}+a_{1} x+a_{0}$, 则 $a_{0}+a_{2}+a_{4}=( )",
        ),
        ("Greek letters", "Given $a + b = 5$, $ab = 4$, find $2 a ^ 2 + 2 b ^ 2$."),
        ("Greek letters", "下列各式运算结果为a^5的是（       ）\nA.a^2+a^3  B.a^2a^3  C.(a^2)^3  D.a^10÷a^2"),
        (
            "no spaces",
            "（5 分）已知函数 $f(x)=2 \\sin x+\\sin 2 x$, 则 $f(x)$ 的最小值是 $(\\quad)$.",
        ),
        (
            "no spaces",
            "Let A and B be two sets of words from Σ*, for an alphabet of symbols Σ. Is A in B?",
        ),
        (
            "no spaces",
            "In triangle $A B C, A B=B C$. A trisector of $\\angle B$ intersects $\\overline{A C}$ at $D$. "
            "If $A B, A C$, and $B D$ are integers and $A B-B D=7$, compute $A C$.",
        ),
    ],
)
def test_copies_that_consist_mostly_of_formulas_are_caught(dress: str, item: str) -> None:
    assert found([Item("bench", item)], [COPIES[dress](item)]) == [True]


def test_a_text_without_spaces_is_still_no_copy_of_another_item() -> None:
    item = "设函数 $f(x)=3 \\cos x+\\cos 2 x$, 求 $f(x)$ 的最大值和最小值分别是多少"
    other = "已知数列$a_n=2\\sinn+\\sin2n$,证明该数列有界并且不收敛,再求$a_1$和$a_2$之和的近似值是多少"
    assert found([Item("bench", item)], [other]) == [False]


def test_missing_spaces_do_not_join_numbers_or_lose_operators() -> None:
    item = "Find the sum of 12 and 7, 30 - 4 and 5."
    copy = "Findthesumof12and7,30-4and5."
    assert found([Item("bench", item)], [copy, f"Work it out:\n{copy}"]) == [True, True]
    assert found([Item("bench", "Sum up 12 7.")], ["Sum up 127.", "Sumup12 7", "Sumup127"]) == [
        False,
        True,
        True,
    ]
    assert found([Item("bench", "What is 30 - 4?")], ["Whatis30-4?", "Whatis30+4?"]) == [True, False]
