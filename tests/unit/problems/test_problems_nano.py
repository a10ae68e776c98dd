"""The nano world: right by construction, split cleanly, the same for the same seed."""

import random
from collections import Counter
from pathlib import Path

import pytest

from mathloop.answers import verify_response
from mathloop.corpus.solutions import Faults, write_solution
from mathloop.errors import BadConfig, BadData
from mathloop.problems import build
from mathloop.problems.config import ProblemsConfig
from mathloop.problems.evolve import evolve
from mathloop.problems.files import read_problem_file
from mathloop.problems.nano import FAMILIES, generate
from mathloop.problems.nano_grammar import split_of_statement
from mathloop.records import Drops, Problem, read_problems, read_rows
from mathloop.stages import StageReport


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
    evolved = list(evolve(given, 20, 2, Drops()))
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


def test_rows_are_counted_as_an_editor_does_and_ids_are_not_shared(tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    rows = ['{"id": null, "problem": "1+1?", "answer": 2}', "", '{"id": "a", "problem": "1+2?", "answer": 3}']
    file.write_text("\n".join(rows), encoding="utf-8")
    assert [problem.id for problem in read_problem_file(file)] == ["problems-1", "a"]
    file.write_text("\n".join([*rows, '{"id": "a", "problem": "1+3?", "answer": 4}']), encoding="utf-8")
    with pytest.raises(BadData, match=r"row 4, field 'id': 'a' is the id of row 3 too"):
        list(read_problem_file(file))


def test_a_files_benchmark_is_the_same_for_every_seed(tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    file.write_text(
        "".join(f'{{"problem": "{n}+1?", "answer": "{n + 1}"}}\n' for n in range(60)), encoding="utf-8"
    )
    held, trained = [], []
    for seed in (1, 2):
        out, benchmark = tmp_path / f"{seed}.parquet", tmp_path / f"{seed}-benchmark.parquet"
        build.run(
            problems_file=file,
            out=out,
            benchmark=benchmark,
            config=ProblemsConfig(train=20, benchmark=8),
            seed=seed,
        )
        trained.append({problem.id for problem in read_problems(out)})
        held.append({problem.id for problem in read_problems(benchmark)})
    assert held[0] == held[1]
    assert len(held[0]) == 8
    assert trained[0] != trained[1]
    assert not held[0] & (trained[0] | trained[1])


def test_a_larger_benchmark_or_a_longer_file_moves_no_problem_to_the_other_side(tmp_path: Path) -> None:
    file = tmp_path / "problems.jsonl"
    rows = [f'{{"problem": "{n}+1?", "answer": "{n + 1}"}}\n' for n in range(80)]

    def sides(count: int, benchmark: int) -> tuple[set[str], set[str]]:
        file.write_text("".join(rows[:count]), encoding="utf-8")
        out, held = tmp_path / "out.parquet", tmp_path / "held.parquet"
        config = ProblemsConfig(train=100, benchmark=benchmark)
        build.run(problems_file=file, out=out, benchmark=held, config=config, seed=0)
        return {p.problem for p in read_problems(out)}, {p.problem for p in read_problems(held)}

    first, later = sides(40, 3), sides(80, 100)
    assert len(first[1]) == 3
    assert len(later[1]) > 10
    assert not first[0] & later[1]
    assert not later[0] & first[1]


def test_evolution_makes_no_problem_of_the_benchmarks_side() -> None:
    train = [nano.problem for nano in generate("train", 400, 1)]
    evolved = list(evolve(train, 400, 1, Drops()))
    assert len(evolved) > 200
    splits = {split_of_statement(problem.family, problem.problem) for problem in evolved}
    assert splits == {"train"}
    for nano in generate("benchmark", 300, 0):
        assert split_of_statement(nano.family.name, nano.problem.problem) == "benchmark"
        assert split_of_statement(nano.family.name, "How many?") is None


def test_the_benchmark_tells_the_same_numbers_three_times_at_most() -> None:
    told = Counter(nano.problem.parent for nano in generate("benchmark", 300, 0))
    assert max(told.values()) <= 3
    assert len(told) > 150


def test_broken_rows_are_set_aside_up_to_the_share_that_is_allowed(tmp_path: Path) -> None:
    file, dropped = tmp_path / "problems.jsonl", tmp_path / "dropped"
    good = "".join(f'{{"problem": "{n}+1?", "answer": "{n + 1}"}}\n' for n in range(8))
    file.write_text(f'{good}{{broken\n{{"problem": "9+1?"}}\n', encoding="utf-8")

    def build_with(share: float) -> StageReport:
        return build.run(
            problems_file=file,
            out=tmp_path / "problems.parquet",
            benchmark=tmp_path / "benchmark.parquet",
            dropped=dropped,
            config=ProblemsConfig(rejects_share=share),
            seed=0,
        )

    with pytest.raises(BadData, match="row 9: not JSON"):
        build_with(0.1)
    assert not dropped.exists()
    report = build_with(0.2)
    assert report.dropped == {"broken row": 2}
    assert report.inputs == 10
    rows = list(read_rows(dropped))
    assert {row["drop_reason"] for row in rows} == {"broken row"}
    reasons = {row["row"]: row["error"] for row in rows}
    assert sorted(reasons) == [9, 10]
    assert "field 'answer': missing" in reasons[10]


def test_a_generator_that_has_no_more_says_so() -> None:
    with pytest.raises(BadConfig, match=r"no more than .* different problems"):
        list(generate("benchmark", 10**6, 0, families=("together_times",)))


def test_an_evolved_problem_that_was_seen_before_is_dropped() -> None:
    given = [Problem(f"p{n}", f"What is {n} and 1?", answer="0") for n in range(2, 10)]  # every other digit
    drops = Drops()
    assert list(evolve(given, 8, 0, drops)) == []
    assert drops.counts == {"duplicate of another problem": 8}
