"""Benchmarks as configuration: the shipped entries, one's own, and their data."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mathloop.answers import verify
from mathloop.errors import BadConfig, BadData
from mathloop.evaluation.benchmarks import (
    ENVIRONMENT,
    Benchmark,
    benchmark_names,
    benchmark_of,
    data,
    find_benchmark,
    read_benchmark,
    registry,
)
from mathloop.evaluation.benchmarks.registry import ENTRIES
from mathloop.records import Problem
from tests.paths import ROOT, SHARED_DATA

PAPER = (
    *(
        "GSM8K",
        "MATH",
        "MATH-500",
        "minerva_math",
        "GaoKao2023En",
        "OlympiadBench",
        "college_math",
        "MMLU-STEM",
    ),
    *("CMATH", "gaokao_math_cloze", "gaokao_math_qa", "gaokao2024_I", "gaokao2024_II", "gaokao2024_mix"),
    *("cn_middle_school", "AIME24", "AIME25", "AMC23", "SVAMP", "ASDiv", "MAWPS", "carp_en"),
)
SETS = [SHARED_DATA / "benchmarks", SHARED_DATA / "benchmarks_raw"]
ROWS = [{"question": f"What is {n} + {n}?", "answer": f"It is #### {2 * n}"} for n in range(3)]


@pytest.fixture(autouse=True)
def _without_data_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT, raising=False)


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A benchmark of one's own: sums.yaml and sums.jsonl in a folder."""
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "sums.jsonl").write_text(lines, encoding="utf-8")
    (tmp_path / "sums.yaml").write_text("path: sums.jsonl\nk: [1, 4]\n", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_benchmarks_are_there_however_they_are_written(name: str) -> None:
    benchmark = find_benchmark(name)
    assert benchmark.source
    if benchmark.sha256 is None:  # nothing was tried, and the entry says so
        assert benchmark.revision is None
        assert "not tried" in benchmark.note.lower()
    else:
        assert benchmark.problems


def test_every_entry_is_read_and_shipped() -> None:
    names = benchmark_names()
    assert len(names) >= 24
    for name in names:
        assert find_benchmark(name).name == name
        assert (ENTRIES / f"{name}.yaml").is_file()
    assert '"**/*.yaml"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    paper = {"GSM8K": 8, "MATH": 4, "MMLU STEM": 4, "CMATH": 6, "GaoKao Math Cloze": 5, "GaoKao Math QA": 4}
    assert {name: find_benchmark(name).shots for name in paper} == paper


@pytest.mark.skipif(not SHARED_DATA.is_dir(), reason="the shared data folder is not beside this checkout")
@pytest.mark.parametrize(
    "name", sorted(path.name for folder in SETS if folder.is_dir() for path in folder.iterdir())
)
def test_the_real_sets_load_by_the_names_of_their_folders(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENVIRONMENT, os.pathsep.join(map(str, SETS)))
    benchmark = find_benchmark(name)
    problems = list(read_benchmark(benchmark))
    assert len(problems) == benchmark.problems
    assert len({problem.id for problem in problems}) == len(problems)
    for problem in problems:
        assert benchmark_of(problem) == problem.source == name
        assert problem.answer
    assert {problem.language for problem in problems} == {benchmark.language or "en"}
    for problem in problems[:: max(1, len(problems) // 12)]:
        assert verify(problem.answer or "", problem.answer or "").correct, problem.answer


def test_ones_own_is_found_by_name_by_file_and_by_its_data(own: Path) -> None:
    for benchmark in (
        find_benchmark("Sums", [own]),
        find_benchmark(str(own / "sums.yaml")),
        find_benchmark(str(own / "sums.jsonl")),
    ):
        problems = list(read_benchmark(benchmark))
        assert [(p.id, p.source, p.answer) for p in problems] == [
            (f"sums/sums-{n + 1}", "sums", str(2 * n)) for n in range(3)
        ]
    assert "sums" in benchmark_names([own])
    (own / "profile.yaml").write_text("name: mine\ngrpo: {steps: 1}\n", encoding="utf-8")
    assert "profile" not in benchmark_names([own])


def test_a_folder_of_problems_needs_no_split_and_no_slash(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own / "plain").mkdir()
    (own / "sums.jsonl").rename(own / "plain" / "problems.jsonl")
    monkeypatch.chdir(own)
    for name in ("plain", "./plain"):
        assert [p.source for p in read_benchmark(find_benchmark(name))] == ["plain"] * 3


def test_a_benchmark_of_choices_has_letters_as_golds(own: Path) -> None:
    """MMLU's rows once gave the gold 2 and lost their choices, without a word."""
    (own / "sums.yaml").write_text("path: sums.jsonl\nchoices: true\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"sums/sums-1: the gold answer '0' is no letter, and .* choices: true"):
        list(read_benchmark(find_benchmark("sums", [own])))
    rows = [{"question": "1+1?", "choices": ["1", "2"], "answer": answer} for answer in (1, "B", [0, 1])]
    (own / "sums.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert [p.answer for p in read_benchmark(find_benchmark("sums", [own]))] == ["B", "B", "AB"]


def test_a_benchmark_is_named_after_its_folder_and_not_after_a_split(own: Path) -> None:
    (own / "gsm8k").mkdir()
    for name in ("test.jsonl", "test-00000-of-00001.jsonl"):
        (own / "gsm8k" / name).write_text('{"problem": "1?", "answer": 1}\n')
        assert find_benchmark(str(own / "gsm8k" / name)).name == "gsm8k"


def test_every_file_and_problem_must_be_the_recorded_one(own: Path) -> None:
    (own / "sums").mkdir()
    path = (own / "sums.jsonl").rename(own / "sums" / "test.jsonl")
    checksum = hashlib.sha256(path.read_bytes()).hexdigest()
    recorded = Benchmark(name="sums", path=str(own / "sums"), sha256=checksum, problems=3)
    assert len(list(read_benchmark(recorded))) == 3
    with pytest.raises(BadData, match="expected the 4 problems of benchmark sums, found 3"):
        list(read_benchmark(recorded.model_copy(update={"problems": 4})))
    (own / "sums" / "test_extra.jsonl").write_text(path.read_text().splitlines()[0] + "\n")
    with pytest.raises(BadData, match=r"not the recorded data .* in test\.jsonl, .* in test_extra\.jsonl"):
        list(read_benchmark(recorded))


def test_an_own_entry_comes_before_the_shipped_one(own: Path) -> None:
    (own / "gsm8k.yaml").write_text("path: sums.jsonl\n", encoding="utf-8")
    assert [p.source for p in read_benchmark(find_benchmark("gsm8k", [own]))] == ["gsm8k"] * 3


def test_the_problems_a_round_holds_out_are_of_no_named_benchmark() -> None:
    assert benchmark_of(Problem("train-17", "1 + 1?", source="train")) == "held-out"
    assert benchmark_of(Problem("train-17", "1 + 1?")) == "held-out"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "gsm9k",
            "no benchmark 'gsm9k', did you mean 'gsm8k'; known: aime24, .*svamp, or a .yaml",
        ),
        ("mine.yaml", "benchmarks: there is no file mine.yaml"),
    ],
)
def test_an_unknown_name_is_one_line_with_the_names(name: str, expected: str) -> None:
    with pytest.raises(BadConfig, match=expected) as error:
        find_benchmark(name)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("shot: 3", "own.yaml: shot: no such field, did you mean 'shots'"),
        ("shots: 3", "shots need few_shot"),
        ("prompt: text", "prompt text needs few_shot"),
        ("sha256: abc", "own.yaml: sha256: string should match"),
        ("- 1", "expected fields"),
    ],
)
def test_a_wrong_entry_is_one_line(tmp_path: Path, text: str, expected: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadConfig, match=expected) as error:
        find_benchmark(str(path))
    assert "\n" not in str(error.value)


def test_data_that_is_missing_or_another_version_is_one_line(own: Path) -> None:
    with pytest.raises(BadData, match=r"the data of benchmark gsm8k was not found .*MATHLOOP_BENCHMARKS"):
        list(read_benchmark(find_benchmark("gsm8k")))
    (own / "gsm8k").mkdir()
    (own / "sums.jsonl").rename(own / "gsm8k/test.jsonl")
    with pytest.raises(BadData, match=r"not the recorded data of benchmark gsm8k .*SHA-256 9f098df7ff45"):
        list(read_benchmark(find_benchmark("gsm8k"), [own]))
    free = find_benchmark("gsm8k").model_copy(update={"sha256": None})
    assert len(list(read_benchmark(free, [own]))) == 3


def test_listing_them_needs_no_torch() -> None:
    code = (
        "import sys, mathloop.evaluation.benchmarks as b; b.benchmark_names(); print('torch' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"


def test_every_field_is_described() -> None:
    assert all(field.description for field in Benchmark.model_fields.values())


def test_an_entry_and_its_data_may_be_in_a_bucket(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mock of the bucket s3://b/sets, which has what the folder has."""

    @contextmanager
    def copied(location: Path | str) -> Iterator[Path]:
        assert str(location).startswith("s3://b/sets/")
        yield own / str(location).removeprefix("s3://b/sets/")

    for module in (registry, data):
        monkeypatch.setattr(module, "local_copy", copied)
    benchmark = find_benchmark("s3://b/sets/sums.yaml")
    assert benchmark.path == "s3://b/sets/sums.jsonl"
    assert len(list(read_benchmark(benchmark))) == 3
    shipped = find_benchmark("svamp").model_copy(update={"sha256": None})
    assert data.find_data(shipped, [Path("s3://b/sets")]) == "s3://b/sets/svamp/test.jsonl"
