"""Every public layout and every benchmark of ../shared/data, against a table that was written by hand."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from mathloop.answers import verify
from mathloop.problems.sources import read_source
from tests.paths import SHARED_DATA

FORMATS, SETS = SHARED_DATA / "formats", (SHARED_DATA / "benchmarks", SHARED_DATA / "benchmarks_raw")
SIX = ["336", "6", r"\frac{1}{8}", r"14\pi", "-9,9", "121"]
STATED = [answer if answer != "-9,9" else "-9, 9" for answer in SIX]
"""As the solutions' boxes write them."""
LETTERS = ["C"] * 6
OF_THREE = [tuple(str(3 * number - 2 + more) for more in range(4)) for number in range(11, 17)]
OF_FIVE = [("5", "6", "7", "8")] * 6

FORMAT_ROWS: dict[str, tuple[str, list[str]]] = {
    "01-gsm8k-main.parquet": ("gsm8k", SIX),
    "02-hendrycks-math.parquet": ("hendrycks-math", STATED),
    "03-math500.jsonl": ("math-500", SIX),
    "04-numinamath-cot.parquet": ("numinamath-cot", STATED),
    "05-numinamath-15.parquet": ("numinamath-1.5", SIX[2:]),
    "06-openmathinstruct2.parquet": ("openmathinstruct-2", SIX),
    "07-openr1-math.parquet": ("openr1-math", SIX),
    "08-deepscaler.json": ("problem-answer", SIX),
    "09-dapo-17k.parquet": ("dapo", SIX),
    "10-big-math.parquet": ("big-math", SIX),
    "11-omni-math.jsonl": ("omni-math", SIX),
    "12-aime24-hf.parquet": ("aime", ["000", "001", "002", "003", "004", "005"]),
    "13-aime-capitals.jsonl": ("aime-capitals", ["100", "101", "102", "103", "104", "105"]),
    "14-olympiadbench.jsonl": ("olympiadbench", SIX),
    "15-cmath.jsonl": ("cmath", ["18", "20", "22", "24", "26", "28"]),
    "16-agieval-gaokao-qa.jsonl": ("agieval", LETTERS),
    "17-mmlu.parquet": ("mmlu", LETTERS),
    "18-sharegpt.json": ("sharegpt", STATED),
    "19-alpaca.json": ("alpaca", STATED),
    "20-metamath.jsonl": ("metamath", SIX),
    "21-orz.parquet": ("orz", SIX),
    "22-deepmath.parquet": ("deepmath", SIX),
    "23-chat-messages.jsonl": ("chat", STATED),
    "24-plain.jsonl.gz": ("problem-answer", SIX),
    "25-plain.csv": ("problem-answer", SIX),
    "26-saved": ("problem-answer", SIX),
    "27-shards": ("problem-answer", SIX),
    "28-gaokao-bench.json": ("gaokao-bench", ["B"]),
    "29-plain-ok.jsonl": ("problem-answer", SIX),
}
CHOICES = {
    "16-agieval-gaokao-qa.jsonl": OF_FIVE,
    "17-mmlu.parquet": OF_THREE,
    "28-gaokao-bench.json": [("6", "7", "8", "9")],
}


class Expected(NamedTuple):
    """What a benchmark holds: problems, language, multiple choice, and its first gold answer."""

    problems: int
    language: str
    with_choices: int
    first: str
    left_out: int = 0


BENCHMARKS = {
    "cmath": Expected(600, "zh", 0, "9"),
    "cn_middle_school": Expected(101, "zh", 41, "A"),
    "gaokao2023en": Expected(383, "en", 29, r"$\{x|-2\leq x < 1\}$", 2),
    "gaokao_math_cloze": Expected(118, "zh", 0, "2"),
    "gaokao_math_qa": Expected(351, "zh", 351, "D"),
    "gsm8k": Expected(1319, "en", 0, "18"),
    "math500": Expected(500, "en", 0, r"\left( 3, \frac{\pi}{2} \right)"),
    "mmlu_stem": Expected(3018, "en", 3018, "C"),
    "olympiadbench": Expected(675, "en", 0, "2"),
    "svamp": Expected(1000, "en", 0, "145"),
    "aime24": Expected(30, "en", 0, "204"),
    "amc23": Expected(40, "en", 0, "27"),
    "aqua": Expected(254, "en", 254, "A"),
    "asdiv": Expected(2215, "en", 0, "9"),
    "carp_en": Expected(976, "en", 0, "b ^ { 2 } - 9 a ^ { 2 }"),
    # The 21 were read: each is an argument, such as "Yes. If not, there would exist a vector …".
    "college_math": Expected(2797, "en", 0, "$10-4 n$", 21),
    "gaokao2024_I": Expected(14, "zh", 11, "A"),
    "gaokao2024_II": Expected(14, "zh", 11, "C"),
    "gaokao2024_mix": Expected(91, "zh", 53, "C"),
    "mawps": Expected(2065, "en", 0, "43"),
    "minerva_math": Expected(272, "en", 0, "1.6"),
    "sat_math": Expected(32, "en", 32, "A"),
}

pytestmark = pytest.mark.skipif(not FORMATS.is_dir(), reason="../shared/data is not beside this checkout")


@pytest.mark.parametrize("name", FORMAT_ROWS)
def test_a_public_layout_is_recognized_and_read(name: str) -> None:
    layout, golds = FORMAT_ROWS[name]
    source = read_source(FORMATS / name)
    problems = list(source)
    assert [problem.answer for problem in problems] == golds
    assert [problem.choices for problem in problems] == CHOICES.get(name, [()] * len(golds))
    assert (list(source.layouts), source.broken) == ([layout], [])
    assert source.rows == len(golds) + len(source.left_out)
    chinese = name in ("15-cmath.jsonl", "16-agieval-gaokao-qa.jsonl")
    assert {problem.language for problem in problems} == {"zh" if chinese else "en"}
    assert len({problem.id for problem in problems}) == len(golds)
    if golds[-1] == "121":
        assert problems[-1].problem.startswith("Lena packs 9 crates")
        assert problems[-1].problem.endswith("How many whole jars are left?")


def test_every_format_is_in_the_table() -> None:
    assert {path.name for path in FORMATS.iterdir()} == {*FORMAT_ROWS}
    assert {path.name for folder in SETS for path in folder.iterdir()} == {*BENCHMARKS}


def test_a_proof_and_an_unsolved_problem_are_left_out_and_told() -> None:
    source = read_source(FORMATS / "05-numinamath-15.parquet")
    assert len(list(source)) == 4
    assert [(left.row, left.reason.split()[0]) for left in source.left_out] == [
        (1, "a"),
        (2, "solution_is_valid"),
    ]


def test_the_parts_of_a_plain_row() -> None:
    first = next(iter(read_source(FORMATS / "29-plain-ok.jsonl")))
    assert (first.source, first.difficulty, first.family) == ("mine", 2, "Algebra")
    assert first.solution == "Each run takes 48, so 48*7=<<48*7=336>>336 people."


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_loads_by_the_name_of_its_folder(name: str) -> None:
    folder = next(parent / name for parent in SETS if (parent / name).is_dir())
    source, expected = read_source(folder), BENCHMARKS[name]
    problems = list(source)
    found = Expected(
        len(problems),
        "/".join({problem.language for problem in problems}),
        sum(bool(problem.choices) for problem in problems),
        problems[0].answer or "",
        len(source.left_out),
    )
    assert found == expected
    assert (source.broken, {problem.source for problem in problems}) == ([], {name})
    golds = {problem.answer or "" for problem in problems}
    assert [gold for gold in golds if not verify(gold, gold).correct] == []
    for problem in problems:
        assert all(choice in problem.problem for choice in problem.choices)
        if problem.choices:
            assert set(problem.answer or "") <= set("ABCDEFGHIJ"[: len(problem.choices)])


def test_choices_are_rendered_as_the_harness_does() -> None:
    shown = {
        name: next(iter(read_source(parent / name))).problem.splitlines()[-1]
        for parent in SETS
        for name in ("sat_math", "gaokao_math_qa")
        if (parent / name).is_dir()
    }
    assert shown["sat_math"].startswith("Answer Choices: (A) $f(-6)=0$ (B) $f(6)=-6$ (C)")
    assert shown["gaokao_math_qa"].startswith("选项: (A) $")


def test_responses_of_the_public_harness_are_problems_too() -> None:
    source = read_source(SHARED_DATA / "voting" / "math_cot_100.jsonl")
    problems = list(source)
    assert (len(problems), list(source.layouts), source.broken) == (100, ["qwen-harness"], [])
