"""The paper's pairs, copies in other formatting, and rows that must stay."""

import json
import os
from pathlib import Path

import pytest

from mathloop.decontamination.batches import Passage
from mathloop.decontamination.config import DecontaminationConfig as Config
from mathloop.decontamination.index import Index
from mathloop.decontamination.items import Item
from mathloop.decontamination.matching import Match, find_matches
from mathloop.decontamination.stage import run
from mathloop.errors import BadData, StorageRefused
from mathloop.records import (
    Problem,
    Response,
    read_problems,
    read_responses,
    read_rows,
    write_problems,
    write_responses,
)

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
    (
        "Krista put 1 cent into her new bank on Sunday morning. On Monday she put 2 cents into her bank. On "
        "Tuesday she put 4 cents into her bank, and she continued to double the amount of money she put into "
        "her bank each day for two weeks. On what day of the week did the total first exceed $2?",
        "Krista put 1 cent into her new bank on Sunday morning. On Monday she put 2 cents into her bank. On "
        "Tuesday she put 4 cents into her bank, and she continued to double the amount of money she put into "
        "her bank each day for two weeks. On what day of the week did the total first exceed $5?",
    ),
]


def find(item: str, rule: str, text: str) -> Match | None:
    index = Index.build([Item("bench", item)], ngram=13)
    rules = index.rules([rule], lcs_ratio=0.6, structure_ratio=0.65, likeness=0.5)
    return find_matches([[Passage(text, True)]], rules, index.items)[0]


@pytest.mark.parametrize(("train", "test"), PAIRS)
def test_the_papers_pairs_are_caught_by_its_rule_alone(train: str, test: str) -> None:
    match = find(test, "ngram_lcs", train)
    assert match is not None
    assert match.rule == "ngram_lcs"


@pytest.mark.parametrize(
    ("item", "text"),
    [
        ("What is 3 + 4?", "what is  3 + 4 ?"),
        ("What is 3 + 4?", "What is ３+４？"),
        ("小明有12个苹果，还剩多少？", "小明有 12 个苹果,还剩多少"),
        ("Find the sum of the first ten odd numbers.", "So: find the sum of the first ten odd numbers! Bye."),
    ],
)
def test_copies_in_other_formatting_are_exact(item: str, text: str) -> None:
    assert find(item, "exact", text) is not None


def test_other_numbers_stay() -> None:
    assert find("What is 3 + 4?", "exact", "What is 3 + 5?") is None


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
    assert report.inputs == 9


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


def decontaminate(folder: Path, train: bytes, bench: bytes) -> list[bytes]:
    (folder / "train.jsonl").write_bytes(train)
    (folder / "bench.jsonl").write_bytes(bench)
    run(
        problems=folder / "train.jsonl",
        responses=None,
        benchmarks=[folder / "bench.jsonl"],
        out=folder / "out.jsonl",
        removed=folder / "removed",
        config=Config(),
    )
    return (folder / "out.jsonl").read_bytes().splitlines(keepends=True)


def test_kept_lines_stay_byte_for_byte_and_a_solution_does_not_hide_a_short_copy(tmp_path: Path) -> None:
    kept = b'{"question" :  "Wie gro\\u00df ist 7?", "extra": [1,  2]}\r\n'
    gone = b'{"question": "what is 3+4", "answer": "3 + 4 is 7\\n#### 7"}\n'
    bench = b'{"Body": "What is 3", "Question": "+ 4?"}\n'
    assert decontaminate(tmp_path, gone + b"\n" + kept, bench) == [kept]
    (row,) = map(json.loads, (tmp_path / "removed").read_text(encoding="utf-8").splitlines())
    assert (row["id"], row["text"], row["benchmark"]) == ("1", "what is 3+4", "bench")


def test_removed_is_written_when_nothing_is_removed(tmp_path: Path) -> None:
    assert len(decontaminate(tmp_path, b'{"text": "one apple"}\n', b'{"problem": "two pears"}\n')) == 1
    assert (tmp_path / "removed").read_bytes() == b""


@pytest.mark.parametrize("row", [b'{"question": 5}\n', b'{"answer": "5"}\n', b'{"question": "a\n'])
def test_a_broken_row_is_named_in_one_line_and_nothing_is_left(tmp_path: Path, row: bytes) -> None:
    with pytest.raises(BadData, match="row 2") as caught:
        decontaminate(tmp_path, b'{"text": "one apple"}\n' + row, b'{"problem": "two pears"}\n')
    assert "\n" not in str(caught.value)
    assert {path.name for path in tmp_path.iterdir()} == {"train.jsonl", "bench.jsonl"}


@pytest.mark.parametrize("orphan", [False, True])
def test_a_response_goes_with_its_problem_or_for_its_own_text(tmp_path: Path, orphan: bool) -> None:
    write_problems(tmp_path / "problems", [Problem("a", "What is 3 + 4?"), Problem("b", "Name a prime.")])
    texts = [("a", "Seven."), ("b", "Two."), ("b", PAIRS[0][0])] + [("c", "Lost.")] * orphan
    write_responses(tmp_path / "responses", [Response(p, i, "cot", t) for i, (p, t) in enumerate(texts)])
    write_problems(tmp_path / "bench", [Problem("x", "what is 3+4"), Problem("y", PAIRS[0][1])])

    def clean() -> dict[str, int]:
        return run(
            problems=tmp_path / "problems",
            responses=tmp_path / "responses",
            benchmarks=[tmp_path / "bench"],
            out=tmp_path / "out",
            removed=tmp_path / "removed",
            config=Config.model_validate_json('{"rules": ["exact", "ngram_lcs"]}', strict=True),
        ).dropped

    if orphan:
        with pytest.raises(BadData, match="problem_id"):
            clean()
        assert not (tmp_path / "out").exists()
    else:
        assert clean() == {"bench: exact": 1, "bench: ngram_lcs": 1}
        assert [response.text for response in read_responses(tmp_path / "out")] == ["Two."]


def files(folder: Path) -> dict[str, bytes | None]:
    found = sorted(folder.rglob("*"))
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in found}


@pytest.mark.parametrize(
    ("out", "removed"),
    [
        ("new/a/out.jsonl", "folder"),
        ("folder", "new/removed"),
        ("new/out.jsonl", "pipe"),
        ("pipe", "removed"),
        ("", "removed"),
        ("out.jsonl", ""),
        ("out.jsonl", "train.jsonl/removed"),
        ("train.jsonl", "removed"),
        ("out.jsonl", "link"),
        ("same", "./same"),
        ("out", "out/removed"),
        ("x" * 300, "removed"),
    ],
)
def test_unusable_output_paths_are_refused_and_nothing_is_changed(
    tmp_path: Path, out: str, removed: str
) -> None:
    (tmp_path / "train.jsonl").write_bytes(b'{"text": "one apple"}\n{"text": "two pears"}\n')
    (tmp_path / "bench.jsonl").write_bytes(b'{"text": "two pears"}\n')
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("train.jsonl")
    before = files(tmp_path)
    with pytest.raises((BadData, StorageRefused)) as caught:
        run(
            problems=tmp_path / "train.jsonl",
            responses=None,
            benchmarks=[tmp_path / "bench.jsonl"],
            out=tmp_path / out if out else Path(out),
            removed=tmp_path / removed if removed else Path(removed),
            config=Config(),
        )
    assert "\n" not in str(caught.value)
    assert files(tmp_path) == before


@pytest.mark.parametrize("out", ["data.jsonl", "new/a/out.jsonl"])
@pytest.mark.parametrize("broken", [False, True])
def test_files_with_similar_names_are_kept_and_folders_of_a_failed_run_are_removed(
    tmp_path: Path, out: str, broken: bool
) -> None:
    train = b'{"text": "one apple"}\n' + b'{"text": 5}\n{"text": 6}\n' * broken
    (tmp_path / "data.jsonl.partial").write_bytes(train)
    (tmp_path / "bench.jsonl").write_bytes(b'{"text": "two pears"}\n')
    before = files(tmp_path)
    arguments = {
        "problems": tmp_path / "data.jsonl.partial",
        "responses": None,
        "config": Config(),
    }
    places = {"out": tmp_path / out, "removed": tmp_path / "new" / "b" / "removed"}
    if broken:
        with pytest.raises(BadData, match=r"row 2, .*2 broken rows; the others: row 3"):
            run(**arguments, **places, benchmarks=[tmp_path / "bench.jsonl"])  # type: ignore[arg-type]
        assert files(tmp_path) == before
    else:
        run(**arguments, **places, benchmarks=[tmp_path / "bench.jsonl"])  # type: ignore[arg-type]
        after = files(tmp_path)
        assert {name: after[name] for name in before} == before
        assert after[out] == train
