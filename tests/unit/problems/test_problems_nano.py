"""The nano world: right by construction, split cleanly, the same for the same seed."""

import random
from pathlib import Path

import pytest

from mathloop.answers import verify_response
from mathloop.corpus.solutions import Faults, write_solution
from mathloop.errors import BadData
from mathloop.problems.evolve import evolve
from mathloop.problems.files import read_problem_file
from mathloop.problems.nano import FAMILIES, generate


def test_train_and_benchmark_share_no_numbers_of_a_family() -> None:
    def keys(split: str) -> set[tuple[str, tuple[tuple[str, int], ...]]]:
        return {(n.family.name, tuple(sorted(n.numbers.items()))) for n in generate(split, 2000, 3)}  # type: ignore[arg-type]

    assert not keys("train") & keys("benchmark")


def test_every_style_without_faults_reaches_the_gold_answer() -> None:
    rng = random.Random(0)
    for nano in generate("train", 400, 1):
        for mode, style in (("cot", "guess"), ("cot", "worked"), ("tir", "worked")):
            for other_way in (False, True):
                text = write_solution(nano, mode, style, Faults(), rng, other_way=other_way)  # type: ignore[arg-type]
                assert verify_response(nano.problem.answer or "", text).correct, (nano.problem, text)


def test_a_longer_stream_starts_with_the_shorter_and_covers_every_family() -> None:
    short, long = list(generate("train", 100, 5)), list(generate("train", 400, 5))
    assert [n.problem for n in short] == [n.problem for n in long[:100]]
    assert {n.family.name for n in long} == {family.name for family in FAMILIES}


def test_evolved_problems_are_new_and_have_no_answer() -> None:
    given = [n.problem for n in generate("train", 50, 1)]
    evolved = list(evolve(given, 20, 2))
    assert len(evolved) > 15
    assert all(p.answer is None and p.parent for p in evolved)
    assert not {p.problem for p in evolved} & {p.problem for p in given}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"question": "1+1?"}\n', "row 1, field 'answer'"),
        ('{"answer": "2"}\n', "row 1, field 'problem'"),
        ('{"question": " ", "answer": "2"}\n', "row 1, field 'question'"),
        ('{"question": "1+1?", "answer": "2"}\n{broken\n', "row 2"),
    ],
)
def test_a_broken_row_is_named(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BadData, match=said):
        list(read_problem_file(file))


def test_gsm8k_rows_are_read(tmp_path: Path) -> None:
    file = tmp_path / "gsm.jsonl"
    file.write_text(
        '{"question": "How many?", "answer": "1+71 = <<1+71=72>>72\\n#### 72"}\n', encoding="utf-8"
    )
    (problem,) = read_problem_file(file)
    assert problem.answer == "72"
