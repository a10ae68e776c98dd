"""The paper's pairs, copies in other dress, and what must stay."""

from pathlib import Path

import pytest

from mathloop.decontamination.matching import Benchmarks, Item
from mathloop.decontamination.stage import Config, run
from mathloop.errors import BadData
from mathloop.records import Problem, read_problems, read_rows, write_problems

PAIRS = [
    (
        "What is the remainder when 1 + 2 + 3 + 4 + ··· + 9 + 10 is divided by 8?",
        "What is the remainder when 1 + 2 + 3 + 4 + ··· + 9 + 10 is divided by 9?",
    ),
    (
        "For how many integer values of n between 1 and 1000 inclusive does the decimal representation of "
        "n/1400 terminate?",
        "For how many integer values of n between 1 and 1000 inclusive does the decimal representation of "
        "n/1375 terminate?",
    ),
]


def index(text: str, rule: str) -> Benchmarks:
    return Benchmarks([Item("bench", text)], rules=[rule], ngram=13, lcs_ratio=0.6)


@pytest.mark.parametrize(("train", "test"), PAIRS)
def test_the_papers_pairs_are_caught_by_its_rule_alone(train: str, test: str) -> None:
    match = index(test, "ngram_lcs").find(train)
    assert match is not None
    assert match.rule == "ngram_lcs"


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("What is 3 + 4?", "what is  3 + 4 ?"),
        ("What is 3 + 4?", "What is ３+４？"),
        ("小明有12个苹果，还剩多少？", "小明有 12 个苹果,还剩多少"),
        ("Find the sum of the first ten odd numbers.", "Task: find the sum of the first ten odd numbers! Thanks."),
    ],
)
def test_copies_in_other_dress_are_exact(item: str, text: str) -> None:
    assert index(item, "exact").find(text) is not None


def test_other_numbers_stay() -> None:
    assert index("What is 3 + 4?", "exact").find("What is 3 + 5?") is None


def test_order_is_kept_and_each_removal_names_rule_and_evidence(tmp_path: Path) -> None:
    problems = [Problem(str(i), f"Problem number {i} asks for {i} apples") for i in range(9)]
    write_problems(tmp_path / "train.parquet", problems)
    write_problems(tmp_path / "bench.parquet", [problems[4]])
    report = run(
        problems=tmp_path / "train.parquet",
        responses=None,
        benchmarks=[tmp_path / "bench.parquet"],
        out=tmp_path / "out.parquet",
        removed=tmp_path / "removed.jsonl",
        config=Config(),
    )
    kept = [p.id for p in read_problems(tmp_path / "out.parquet")]
    assert kept == [str(i) for i in range(9) if i != 4]
    (row,) = read_rows(tmp_path / "removed.jsonl")
    assert row["id"] == "4"
    assert row["rule"] == "exact"
    assert row["evidence"]
    assert report.taken == 9


def test_an_empty_benchmark_is_refused(tmp_path: Path) -> None:
    write_problems(tmp_path / "train.parquet", [Problem("1", "a")])
    write_problems(tmp_path / "bench.parquet", [])
    with pytest.raises(BadData, match="empty"):
        run(
            problems=tmp_path / "train.parquet",
            responses=None,
            benchmarks=[tmp_path / "bench.parquet"],
            out=tmp_path / "out.parquet",
            removed=tmp_path / "removed.jsonl",
            config=Config(),
        )
