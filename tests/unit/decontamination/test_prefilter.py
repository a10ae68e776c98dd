"""The compiled filter passes over no text that the rules would match, and decides nothing itself."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mathloop.decontamination import native, prefilter
from mathloop.decontamination.batches import Passage
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.decontamination.index import Index
from mathloop.decontamination.items import Item
from mathloop.decontamination.matching import Match, Rules, find_matches
from mathloop.decontamination.normalization import tokens
from mathloop.decontamination.prompts import hinted
from mathloop.decontamination.sources import passages, read_items
from mathloop.errors import Corrupt
from mathloop.records.rows import numbered_rows
from tests.paths import SHARED_DATA
from tests.unit.decontamination.test_rules import LETTERS, TALES, TEXTS

CONFIG = DecontaminationConfig()
needs_compiler = pytest.mark.skipif(native.library() is None, reason="there is no C compiler here")
BENCHMARKS = ("math500", "cmath", "gaokao2023en", "svamp")
TRAIN = SHARED_DATA / "train" / "gsm8k" / "train.jsonl"


def rules_of(index: Index, names: Sequence[str] = CONFIG.rules) -> Rules:
    return index.rules(names, **CONFIG.model_dump(include={"lcs_ratio", "structure_ratio", "likeness"}))


def indexed(items: Sequence[Item], ngram: int = 13) -> tuple[Index, Rules]:
    index = Index.build(items, ngram=ngram)
    return index, rules_of(index)


def agreed(rows: Sequence[Sequence[Passage]], index: Index, rules: Rules) -> list[Match | None]:
    """The matches with the filter, which must be those without it."""
    matches = find_matches(rows, rules, index.items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prefilter, "library", lambda: None)
        assert find_matches(rows, rules, index.items) == matches
    return matches


@needs_compiler
@settings(max_examples=30, deadline=None)
@given(st.lists(st.text(alphabet=LETTERS, max_size=40), min_size=1, max_size=4))
@example(["1,000 10{,}000 3,\\!000 1,0000 [-500,500] (5,100) \\{1,200\\} \\left(5,100\\right) 1.2.3 .5 5."])
@example(["it's o'clock 'a' \\alpha\\varphi2 \\pi r \\sinx \\a abcdefghijklmnopqrstuvw élans glass bus"])
@example(["\\text{so} 小明有12个苹果 αβ杜小明 ŝs Ŝ\\sin杜abc", "\U00020001\U0001d465 小"])
def test_texts_have_the_tokens_that_the_rules_see(texts: list[str]) -> None:
    items = [Item("bench", " ".join(tokens(text))) for text in texts if tokens(text)]
    if items:
        index = Index.build(items, ngram=4)
        # Worked texts: a short statement is always looked at, since its spaces may be missing.
        matches = agreed([[Passage(text, False)] for text in texts], index, rules_of(index, ["exact"]))
        assert [match is not None for match in matches] == [bool(tokens(text)) for text in texts]


@needs_compiler
def test_tokens_are_alike_at_every_place_of_a_block_of_64_characters() -> None:
    own = "it's 1,000 and 2.5 x"
    texts = [
        f"{'a b' * (before // 3)}{'.' * (before % 3)}{own}{'!' * after}"
        for before in range(130)
        for after in (0, 70)
    ]
    texts += ["a" * size for size in range(1, 140)] + [", '" * size for size in range(1, 50)]
    filled = [text for text in texts if tokens(text)]
    index = Index.build([Item("bench", " ".join(tokens(text))) for text in filled], ngram=4)
    matches = agreed([[Passage(text, False)] for text in texts], index, rules_of(index, ["exact"]))
    assert [match is not None for match in matches] == [bool(tokens(text)) for text in texts]


@needs_compiler
def test_a_hint_beside_another_apostrophe_is_found() -> None:
    _, rules = indexed([Item("bench", "What is 3 + 4?")])
    texts = ["Don’t answer: 5", "Don’t say: 5", "Tom’s steps", "Tom’s 步", "It’s a \\frac12 problem"]
    marks = rules.prefilter.marks([Passage(text, True) for text in texts])
    assert marks.may_have_prompt.tolist() == [True, False, True, True, True]


@needs_compiler
@settings(max_examples=12, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=5), st.lists(TEXTS, min_size=1, max_size=6), st.randoms())
def test_no_rule_loses_a_match_in_mixed_texts(items: list[str], texts: list[str], rng: Random) -> None:
    texts = [*texts, *(f"{item} {text}" for item, text in zip(items, texts, strict=False))]
    index, _ = indexed([Item("bench", item) for item in items], ngram=rng.choice([2, 7, 9]))
    for name in CONFIG.rules:
        agreed([[Passage(text, rng.random() < 0.7)] for text in texts], index, rules_of(index, [name]))


@needs_compiler
def test_the_compiled_hints_of_prompts_are_those_of_the_rules() -> None:
    parts = (
        "nswer",
        "INST",
        "<|",
        "Q:",
        "ste",
        "p 5",
        "expert",
        "Expert",
        "\\boxed",
        "题",
        "x\0y",
        "word " * 9,
    )
    rng = Random(5)
    texts = ["".join(rng.choices(parts, k=rng.randrange(12))) for _ in range(1500)]
    texts += ["p and no more" + " " * 80 + "ste", "ste" + " " * 45 + "p" + " " * 90]  # ends, not neighbors
    _, rules = indexed([Item("bench", "What is 3 + 4?")])
    marks = rules.prefilter.marks([Passage(text, place % 5 > 0) for place, text in enumerate(texts)])
    found = np.flatnonzero(marks.may_have_prompt).tolist()
    assert found == sorted(place for place in hinted(texts) if place % 5)
    assert 100 < len(found) < 1200


@needs_compiler
def test_a_text_is_marked_alike_alone_and_among_texts_of_every_kind() -> None:
    items = [
        "A rope of 54 meters is cut into pieces of 9 meters. How many cuts?",
        "计算三十四除以十七的商是多少？",
    ]
    dress = ("", " \\frac12", " [asy] draw(); [/asy]", " [asy]", " [as", "\\", " don’t", " 小", "\n", "\0")
    rng = Random(8)
    texts = [rng.choice(items)[: rng.randrange(4, 80)] + rng.choice(dress) for _ in range(400)] + ["", "["]
    texts = [f"{rng.choice(('', 'Problem: '))}{text}" for text in texts]
    passages = [Passage(text, place % 3 > 0, rng.choice((None, "5"))) for place, text in enumerate(texts)]
    _, rules = indexed([Item("bench", item, "5") for item in items])
    together = rules.prefilter.marks(passages)
    for place, passage in enumerate(passages):
        alone = rules.prefilter.marks([passage])
        assert (alone.may_match[0], alone.may_have_prompt[0]) == (
            together.may_match[place],
            together.may_have_prompt[place],
        )
    assert 0 < together.may_match.sum() < len(texts)
    assert 0 < together.may_have_prompt.sum() < len(texts)


def tales(rng: Random, count: int) -> Iterator[str]:
    """Problems in other words with the same numbers, which are digits, words or Chinese numerals."""
    spelled = {3: "three", 21: "twenty-one", 54: "fifty four", 40: "四十", 12: "一十二", 300: "三百"}
    for _ in range(count):
        text = rng.choice(TALES)
        for name in "abc":
            number = rng.choice([*spelled, 7, 9, 11, 1000])
            known = str(number) if rng.random() < 0.7 else spelled.get(number, str(number))
            text = text.replace(f"{{{name}}}", known)
        yield text


@needs_compiler
def test_no_rephrased_problem_is_passed_over() -> None:
    rng = Random(3)
    answers = [None, "5", "\\frac12", "0.5", "5.0000001", "$1,000", "1e400", "(3, 4)", "12 apples"]
    index, _ = indexed([Item("bench", text, rng.choice(answers)) for text in tales(rng, 150)])
    rows = [[Passage(text, True, rng.choice(answers))] for text in tales(rng, 250)]
    matches = agreed(rows, index, rules_of(index, ["rephrased"]))
    assert 20 < sum(match is not None for match in matches) < 230


@needs_compiler
def test_a_likely_item_is_found_after_an_unlikely_one() -> None:
    text = "To make the value of the fraction $\\frac {{ a } ^ { 2 } - 9 } { a + 3 }$ equal to zero, the"
    items = [
        "Which expression is equivalent to 9(9m + 3t)?",
        "The value of 9 to the power 3, a fraction or zero?",
    ]
    items += [
        f"The value of the fraction 9 over {number} in base 3 is equal to what?" for number in range(4, 20)
    ]
    index, rules = indexed([Item("bench", item) for item in items])
    assert rules.prefilter.marks([Passage(text, True)]).may_match.all()
    agreed([[Passage(text, True)]], index, rules)


@needs_compiler
@pytest.mark.skipif(not TRAIN.is_file(), reason="the benchmarks' files are not beside the checkout")
def test_the_removals_of_real_rows_are_equal_and_most_rows_are_passed_over() -> None:
    files = [next((SHARED_DATA / "benchmarks" / name).glob("*.jsonl")) for name in BENCHMARKS]
    items = [item for file in files for item in list(read_items([file]))[:60]]
    index, rules = indexed(items)
    others = [SHARED_DATA / "benchmarks_raw" / name for name in ("college_math", "asdiv", "aime24")]
    rows = [
        passages(row, file, number)
        for file in (TRAIN, *(next(folder.glob("*.jsonl")) for folder in others))
        for number, row in list(islice(numbered_rows(file), 120))
    ]
    rows += [[passage._replace(answer=None) for passage in row] for row in rows[::2]]
    rows += [[Passage(item.text, True, item.answer)] for item in items[::7]]
    rows += [[Passage(item.text.replace("2", "3"), True)] for item in items[::7]]
    matches = agreed(rows, index, rules)
    assert sum(match is not None for match in matches) > len(items[::7])
    texts = [passage for row in rows[:120] for passage in row]
    assert rules.prefilter.marks(texts).may_match.mean() < 0.1


@needs_compiler
def test_long_texts_and_statements_of_many_numbers_are_agreed_on() -> None:
    question = "A rope of 54 meters is cut into pieces of 9 meters. How many cuts are needed in all for it?"
    index, rules = indexed(
        [Item("bench", question, "5"), Item("bench", "小明有" + "九" * 15 + "个苹果，还剩多少？")]
    )
    numbers = " ".join(map(str, range(3, 1100)))
    texts = [
        "",
        "\n",
        question,
        numbers,
        f"{numbers} {question}",
        "小明有" + "九万" * 9 + "个苹果",
    ]
    texts.append("word " * 1100 + question)
    matches = agreed([[Passage(text, own)] for text in texts for own in (True, False)], index, rules)
    assert [match is not None for match in matches[4:6]] == [True, True]


def test_without_a_compiler_or_with_a_cache_of_others_everything_is_decided_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    state = native.loaded.__wrapped__

    def build() -> None:
        assert state()[0] is None

    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    assert state() == (None, "not compiled (there is no C compiler)")
    monkeypatch.setattr(native.shutil, "which", lambda name: "/bin/cc")

    def fails(command: list[str], **options: object) -> None:
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(native.subprocess, "run", fails)
    assert state() == (None, "not compiled (the C compiler failed)")
    assert os.listdir(tmp_path / "mathloop") == []
    monkeypatch.setattr(native.subprocess, "run", lambda command, **options: Path(command[-2]).touch())
    (tmp_path / "mathloop").chmod(0o777)  # anybody could have put a library there
    assert state() == (
        None,
        f"not compiled (others can write to {tmp_path / 'mathloop'})",
    )  # anybody could have put a library there
    index, rules = indexed([Item("bench", "What is 3 + 4?")])
    monkeypatch.setattr(prefilter, "library", build)
    assert find_matches([[Passage("what is 3+4", True)]], rules, index.items) != [None]


@needs_compiler
def test_an_image_s_library_is_beside_its_source_and_needs_no_compiler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = native.library()
    assert library is not None
    built = Path(library._name)
    for source in native._HERE.glob("*.[ch]"):
        shutil.copy(source, tmp_path)
    monkeypatch.setattr(native, "_HERE", tmp_path)
    monkeypatch.setattr(native, "_compile", lambda path: shutil.copy(built, path))
    native.build()
    monkeypatch.setenv("XDG_CACHE_HOME", "/proc/no folder can be made here")
    monkeypatch.setattr(native.shutil, "which", lambda name: None)
    assert native.loaded.__wrapped__()[1] == "compiled"
    (tmp_path / "prefilter.c").write_text("changed since")
    library, reason = native.loaded.__wrapped__()
    assert library is None
    assert reason.startswith("not compiled (")


def test_an_index_whose_places_lie_outside_is_refused() -> None:
    index = Index.build(
        [Item("bench", f"What is {number} + 4, plus all of the rest?") for number in range(9)], ngram=4
    )
    for name, place in (
        ("grams.values", 0),
        ("grams.starts", -1),
        ("rare.buckets", 1),
        ("items.offsets", -1),
    ):
        arrays = {key: np.array(array) for key, array in index.arrays.items()}
        arrays[name][place] = 10**6
        with pytest.raises(Corrupt, match="the decontamination index is damaged"):
            rules_of(Index(index.benchmarks, index.ngram, arrays, index.source_items))
