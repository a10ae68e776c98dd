"""`mathloop problems`: how a file is read, before anything is spent on it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from mathloop.errors import BadConfig, BadData
from pipelines.commands.problems import problems
from tests.pipelines.command import mathloop, refused

ROWS = [
    {
        "question": "Which is $1+1$?",
        "choices": ["1", "2", "3"],
        "answer": 1,
        "subject": "sums",
        "level": "Level 2",
    },
    {"question": "下列哪个是偶数？", "choices": ["1", "3", "4"], "answer": "C"},
    {"question": "Tell\u001b[31m red?", "choices": ["1", "3"], "answer": "proof"},
]


def test_what_is_read_and_what_is_not_is_printed_and_refused_as_a_run_refuses_it(tmp_path: Path) -> None:
    path = tmp_path / "quiz.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    result = mathloop("problems", "quiz.jsonl", "--set", "problems.rejects_share=0.5", folder=tmp_path)
    assert result.returncode == 0, result.stderr
    for said in (
        "mmlu (3 rows)",
        "3: 2 problems, 0 left out, 1 broken",
        "row 3",
        "en 1",
        "zh 1",
        "gold: B",
        "(B) 2",
        f"sha256     {hashlib.sha256(path.read_bytes()).hexdigest()}",
    ):
        assert said in result.stdout, said
    assert "\u001b" not in result.stdout
    assert "none of the 2 choices" in refused("problems", "quiz.jsonl", "--first", "0", folder=tmp_path)

    read = mathloop(
        "problems", "quiz.jsonl", "--json", "--set", "problems.rejects_share=0.5", folder=tmp_path
    )
    first, second = map(json.loads, read.stdout.splitlines())
    assert first == {
        "id": "quiz-1",
        "statement": "Which is $1+1$?\nAnswer Choices: (A) 1 (B) 2 (C) 3",
        "answer": "B",
        "choices": ["1", "2", "3"],
        "source": "quiz",
        "language": "en",
        "level": 2,
        "subject": "sums",
        "solution": None,
    }
    assert (second["language"], second["answer"], second["level"]) == ("zh", "C", None)


def test_a_repeated_id_is_told_as_a_run_tells_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"id": "a", "problem": f"{n}+1?", "answer": n + 1} for n in range(2)]
    rows += [{"id": f"b{n}", "problem": "7+1?", "answer": "8" * (1 + n // 2)} for n in range(3)]
    file = tmp_path / "dupid.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems([str(file)], sets=["problems.rejects_share=0.5"])
    shown = capsys.readouterr().out
    assert "5: 3 problems, 0 left out, 2 broken" in shown
    repeated = "2 problems repeat the statement of an earlier one (b1 like b0, b2 like b0), 1 of them with"
    assert repeated in shown
    for as_json in (False, True):
        with pytest.raises(BadData, match="'a' is the id of row 1 too"):
            problems([str(file)], as_json=as_json)


def test_decontaminate_refuses_formats_that_it_does_not_write_or_take(tmp_path: Path) -> None:
    for name in ("train.jsonl", "train.txt", "bench.jsonl"):
        (tmp_path / name).write_text('{"question": "1+1?"}\n')
    for train, out, said in (
        ("train.jsonl", "kept.json", "kept.json: a table is not written as .json"),
        ("train.txt", "kept.jsonl", "train.txt: training data of an unknown format; expected .parquet"),
    ):
        files = ("--train", train, "--benchmarks", "bench.jsonl", "--out", out, "--removed", "r.jsonl")
        assert said in refused("decontaminate", *files, folder=tmp_path)


def test_a_mapping_of_fields_is_a_setting(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "odd.json"
    file.write_text('[{"task": "1+1?", "truth": 2}]')
    with pytest.raises(BadData, match="with the fields task, truth"):
        problems([str(file)])
    problems([str(file)], as_json=True, sets=["problems.fields={problem: task, answer: truth}"])
    assert json.loads(capsys.readouterr().out)["answer"] == "2"
    with pytest.raises(BadConfig, match=r"expected problems.FIELD=VALUE"):
        problems([str(file)], sets=["seed=1"])
