"""`mathloop evaluate` and `mathloop score` from the command line: a tiny model, a table, and refusals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from mathloop.evaluation.benchmarks import find_benchmark, read_benchmark
from pipelines.commands import scoring
from tests.model_faults import write_models
from tests.paths import SHARED_DATA
from tests.pipelines.command import mathloop
from tests.pipelines.forked_commands import Commands

pytestmark = pytest.mark.slow

PROBLEMS = "".join(
    json.dumps({"problem": f"{n} + 1?", "answer": str(n + 1), "level": 1 + n % 2}) + "\n" for n in range(4)
)


@pytest.fixture(scope="module")
def commands() -> Iterator[Commands]:
    with Commands() as started:
        yield started


def test_a_model_is_evaluated_and_scored_again(tmp_path: Path) -> None:
    write_models(tmp_path)
    (tmp_path / "one.jsonl").write_text(PROBLEMS)
    (tmp_path / "two.jsonl").write_text(PROBLEMS + PROBLEMS.replace('"answer": "1"', '"answer": "2"'))
    (tmp_path / "two.yaml").write_text("path: two.jsonl\ntool_use: false\nk: [1, 2]\n")
    (tmp_path / "one.yaml").write_text("path: one.jsonl\nk: [2, 1, 4]\n")
    asked = ["evaluate", "policy", "--benchmarks", "one.yaml,two.yaml", "--modes", "cot"]
    asked += ["--out", "out", "--profile", "tiny", "--set", "evaluation.sampling.max_tokens=8"]
    first = mathloop(*asked, "--reward-model", "reward_model", "--seed", "3", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "rm@2" in first.stdout
    assert "one is small: 4 problems can show no difference below" in first.stdout
    assert "rm@4" not in first.stdout, "both state k = 2, and only one k = 4"
    assert (
        "two: 4 problems repeat the statement of an earlier one (two/two-5 like two/two-1, two/two-6 like "
        "two/two-2, two/two-7 like two/two-3, …), 1 of them with another answer; all are kept, as published\n"
    ) in first.stderr
    names = [line.split()[0] for line in first.stdout.splitlines() if line]
    assert names[2:5] == ["one", "two", "average"]
    scored = mathloop("score", "out", folder=tmp_path)
    assert scored.returncode == 0, scored.stderr
    assert scored.stdout.startswith("By the verifier (all stored labels agree):\n")
    assert (tmp_path / "out" / "one" / "cot-greedy-00000.parquet").is_file()
    (tmp_path / "out" / "two" / "cot-sampled-00000.parquet").unlink()
    assert "the same `mathloop evaluate` resumes it" in mathloop("score", "out", folder=tmp_path).stderr
    old = mathloop(
        *("evaluate", "policy", "one.jsonl", "--profile", "tiny", "--out", "out.jsonl"),
        *("--set", "evaluation.sampling.max_tokens=8", "--k", "1,2"),
        folder=tmp_path,
    )
    assert old.returncode == 0, old.stderr
    assert "pass@1" in old.stdout
    assert "pass@2" in old.stdout
    assert "evaluate MODEL --benchmarks A,B --out DIR replaces this form" in old.stderr
    assert len((tmp_path / "out.jsonl").read_text().splitlines()) == 4 * 2 * 3


def test_the_k_that_all_benchmarks_state_is_the_default() -> None:
    aime, amc = find_benchmark("aime24"), find_benchmark("amc23").model_copy(update={"k": (1, 8, 32, 64)})
    assert scoring._stated_counts([aime]) == [1, 8, 64, 256]
    assert scoring._stated_counts([aime, amc]) == [1, 8, 64]
    assert scoring._stated_counts([aime, find_benchmark("gsm8k")]) == [], "the profile's number of samples"
    assert scoring._stated_counts([]) == []


def test_two_models_are_compared_by_paired_differences(tmp_path: Path) -> None:
    for name, right in (("worse", 2), ("better", 30)):
        rows = [{"r": ["\\boxed{1}" if n < right else "\\boxed{2}"], "g": "1"} for n in range(40)]
        (tmp_path / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    result = mathloop(
        *("score", "worse.jsonl", "better.jsonl", "--fields", "response=r,answer=g"), folder=tmp_path
    )
    assert result.returncode == 0, result.stderr
    (line,) = [line for line in result.stdout.splitlines() if "maj@1:" in line]
    assert line.startswith("fails         worse above better in cot maj@1: -70.0 [")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["evaluate", "m", "p.jsonl", "--out", "out.json"], "expected a .jsonl or .parquet file"),
        (["evaluate", "m"], "give --benchmarks A,B"),
        (["evaluate", "m", "p.jsonl", "--modes", "bogus"], "--modes bogus: expected"),
        (["evaluate", "m", "p.jsonl", "--modes", "cot"], "--modes needs --benchmarks"),
        (["evaluate", "m", "p.jsonl", "--data", "."], "--data needs --benchmarks"),
        (["evaluate", "m", "p.jsonl", "--benchmarks", "p.jsonl"], "give --benchmarks A,B"),
        (["evaluate", "m", "--benchmarks", "p.jsonl"], "--benchmarks needs --out DIR"),
        (["evaluate", "m", "--benchmarks", "p.jsonl", "--out", "x.jsonl"], "it is a folder"),
        (["evaluate", "m", "--benchmarks", "p.jsonl", "--out", "o", "--k", "0"], "--k 0: expected"),
        (
            ["evaluate", "m", "--benchmarks", "p.jsonl", "--out", "o", "--modes", "cod"],
            "--modes cod: expected",
        ),
        (["evaluate", "m", "--benchmarks", "gsm9k", "--out", "o"], "no benchmark 'gsm9k', did you mean"),
        (["evaluate", "m", "--benchmarks", "p.jsonl,./p.jsonl", "--out", "o"], "two are called p"),
        (["score", "p.jsonl"], "field 'text': missing; the row has problem, answer, level"),
        (["score", "p.jsonl", "--fields", "answer=answer"], "it needs response or prediction"),
        (["score", "none.parquet"], "there is no such file"),
    ],
)
def test_a_call_that_cannot_be_is_one_line(
    commands: Commands, tmp_path: Path, arguments: list[str], said: str
) -> None:
    (tmp_path / "p.jsonl").write_text(PROBLEMS)
    assert said in commands.refused(*arguments, folder=tmp_path)


def test_benchmarks_are_found_by_name_in_a_data_folder() -> None:
    folder = SHARED_DATA / "benchmarks_raw"
    if not folder.is_dir():
        pytest.skip("no benchmarks_raw in shared/data")
    found = scoring._benchmarks("aime24,GaoKao2024-I", [folder])
    problems = {one.name: list(read_benchmark(one, [folder])) for one in found}
    assert {name: len(read) for name, read in problems.items()} == {"aime24": 30, "gaokao2024_I": 14}
    assert {problem.source for problem in problems["gaokao2024_I"]} == {"gaokao2024_I"}
