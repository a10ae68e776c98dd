"""Shards, processes, kills and indexes: whatever happens on the way, the same bytes come out."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mathloop.decontamination import shards, stage, workers
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.decontamination.index import Index, open_index
from mathloop.errors import BadData, Corrupt, MathloopError
from mathloop.records import Problem, read_responses, read_rows, write_problems, write_rows
from tests.paths import ROOT

ITEM = "A farmer has {} sheep and buys {} more at the market. How many sheep does he have in the end?"
LEAKED = (7, 120, 121, 333)
ROWS = 400


def write(folder: Path) -> None:
    rows = []
    for number in range(ROWS):
        crates, load = number * 37 + 11, number % 9 + 3
        text = f"Boat {number} carries {crates} crates, {load} a trip. How many trips is that?"
        rows.append(
            {"problem": ITEM.format(17, 25) if number in LEAKED else text, "source": f"s{number % 2}"}
        )
    lines = [json.dumps(row) for row in rows]
    lines[50] = ""
    (folder / "train.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    write_rows(folder / "train.parquet", rows, row_group=64)
    (folder / "bench.jsonl").write_text(
        json.dumps({"question": ITEM.format(17, 25)}) + "\n", encoding="utf-8"
    )


def arguments(folder: Path, **changes: Any) -> dict[str, Any]:
    named = {"problems": folder / "train.jsonl", "responses": None, "benchmarks": [folder / "bench.jsonl"]}
    named |= {
        "out": folder / "out.jsonl",
        "removed": folder / "removed.jsonl",
        "config": DecontaminationConfig(),
    }
    return named | changes


def outcome(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "out.jsonl").read_bytes(), (folder / "removed.jsonl").read_bytes()


def outcome_of_a_whole_run(folder: Path) -> tuple[bytes, bytes]:
    """The output of one process; the files are deleted again."""
    stage.run(**arguments(folder), workers=1)
    expected = outcome(folder)
    for name in ("out.jsonl", "removed.jsonl"):
        (folder / name).unlink()
    return expected


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Training data of about eight shards, and a benchmark."""
    monkeypatch.setattr(shards, "SHARD", 4_000)
    write(tmp_path)
    return tmp_path


def test_two_processes_give_the_bytes_and_the_report_of_one(folder: Path) -> None:
    one = stage.run(**arguments(folder), workers=1)
    expected = outcome(folder)
    two = stage.run(**arguments(folder), workers=2)
    assert outcome(folder) == expected
    assert [json.loads(line)["id"] for line in expected[1].splitlines()] == [str(n + 1) for n in LEAKED]
    assert len(expected[0].splitlines()) == ROWS - 1 - len(LEAKED)
    first = (one.inputs, one.kept, one.dropped, one.values, one.samples)
    assert first == (two.inputs, two.kept, two.dropped, two.values, two.samples)
    assert one.values["removed: s1 × bench"] == 3
    assert one.values["removed: s0 × bench"] == 1
    assert sorted(path.name for path in folder.iterdir() if path.name.startswith(".")) == []


def test_responses_are_filtered_in_shards_too_and_keep_their_lines(folder: Path) -> None:
    problems = [Problem(f"p{number}", f"What is {number} + 7000?") for number in range(40)]
    write_problems(folder / "problems.jsonl", problems)
    lines = []
    for number in range(ROWS):
        text = f"See: {ITEM.format(17, 25)} 42." if number in LEAKED else f"The sum is {number + 7000}."
        row = {"problem_id": f"p{number % 40}", "sample": number, "mode": "cot", "text": text}
        lines.append(json.dumps(row | {"more": number}))
    (folder / "responses.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    named = arguments(folder, problems=folder / "problems.jsonl", responses=folder / "responses.jsonl")
    report = stage.run(**named, workers=2)
    kept = [line for number, line in enumerate(lines) if number not in LEAKED]
    assert (folder / "out.jsonl").read_text(encoding="utf-8").splitlines() == kept
    removed = list(read_rows(folder / "removed.jsonl"))
    assert [row["id"] for row in removed] == [f"p{number % 40} {number}" for number in LEAKED]
    assert {row["source"] for row in removed} == {"problems"}
    assert (report.inputs, report.kept) == (ROWS, ROWS - len(LEAKED))
    stage.run(**named | {"out": folder / "out.parquet"}, workers=1)
    assert [response.sample for response in read_responses(folder / "out.parquet")] == [
        number for number in range(ROWS) if number not in LEAKED
    ]


def test_a_worker_that_is_killed_ends_the_run_in_one_line_and_the_next_resumes(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = outcome_of_a_whole_run(folder)

    def killed(job: shards.Job, rest: Iterator[shards.Shard], pool: Any, ahead: int) -> Iterator[Any]:
        workers.filter_shard(job, next(rest))
        future = pool.submit(workers.filter_shard, job, next(rest))
        for child in multiprocessing.active_children():
            os.kill(child.pid or 0, signal.SIGKILL)
        yield future.result()

    monkeypatch.setattr(workers, "_in_order", killed)
    with pytest.raises(
        MathloopError, match=r"a worker process was killed.* run the same command again to resume"
    ):
        stage.run(**arguments(folder), workers=2)
    assert not (folder / "out.jsonl").exists()
    monkeypatch.undo()
    monkeypatch.setattr(shards, "SHARD", 4_000)
    assert list(folder.glob(".mathloop-*"))
    stage.run(**arguments(folder), workers=2)
    assert outcome(folder) == expected


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.unit.decontamination import test_decontamination_shards
from mathloop.decontamination import shards, stage, workers
shards.SHARD = 4_000
filter_shard = workers.filter_shard
def killed(job, shard):
    if shard.number == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return filter_shard(job, shard)
workers.filter_shard = killed
stage.run(**test_decontamination_shards.arguments(Path(sys.argv[1])), workers=1)
"""


def test_a_killed_run_resumes_and_gives_the_same_bytes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = outcome_of_a_whole_run(folder)
    command = [sys.executable, "-c", KILLED, str(folder)]
    assert subprocess.run(command, capture_output=True, cwd=ROOT).returncode == -signal.SIGKILL
    assert not (folder / "out.jsonl").exists()
    (work,) = folder.glob(".mathloop-*")
    # Files that the kill left of an unfinished shard must not count.
    (work / "4.removed").write_text("half a li")
    checked, find = [], shards.find_matches
    monkeypatch.setattr(shards, "find_matches", lambda rows, *rest: checked.append(rows) or find(rows, *rest))
    report = stage.run(**arguments(folder), workers=1)
    assert outcome(folder) == expected
    assert 0 < sum(map(len, checked)) < ROWS * 3 / 4
    assert report.inputs == ROWS - 1
    assert not work.exists()


def test_other_arguments_do_not_resume_a_killed_run(folder: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(folder)]
    subprocess.run(command, capture_output=True, cwd=ROOT)
    config = DecontaminationConfig(rules=("structure",))
    report = stage.run(**arguments(folder, config=config), workers=1)
    assert report.dropped == {"bench: structure": len(LEAKED)}


def test_parquet_keeps_its_columns_and_row_groups_are_shards(folder: Path) -> None:
    stage.run(**arguments(folder, problems=folder / "train.parquet", out=folder / "out.parquet"), workers=2)
    kept = pq.read_table(folder / "out.parquet").to_pylist()
    rows = pq.read_table(folder / "train.parquet").to_pylist()
    assert kept == [row for number, row in enumerate(rows) if number not in LEAKED]
    assert [row["id"] for row in read_rows(folder / "removed.jsonl")] == [str(n + 1) for n in LEAKED]


def test_a_broken_row_of_a_later_shard_is_named_by_its_line_and_nothing_is_left(folder: Path) -> None:
    lines = (folder / "train.jsonl").read_text(encoding="utf-8").splitlines()
    lines[300] = '{"problem": 7}'
    (folder / "train.jsonl").write_text("\n".join(lines), encoding="utf-8")
    before = sorted(folder.iterdir())
    for processes in (1, 2):
        with pytest.raises(BadData, match=r"train.jsonl, row 301, field 'problem': expected text"):
            stage.run(**arguments(folder), workers=processes)
        assert sorted(folder.iterdir()) == before


def test_an_index_is_built_once_and_refused_when_stale_or_damaged(folder: Path) -> None:
    place = folder / "kept" / "index"
    stage.run(**arguments(folder, index=place), workers=1)
    expected, written = outcome(folder), {path.name: path.stat().st_mtime_ns for path in place.iterdir()}
    stage.run(**arguments(folder, index=place), workers=2)
    assert outcome(folder) == expected
    assert {path.name: path.stat().st_mtime_ns for path in place.iterdir()} == written
    assert not np_writable(Index.load(place))

    (folder / "bench.jsonl").write_text('{"question": "What is 3 + 4?"}\n', encoding="utf-8")
    with pytest.raises(BadData, match="index of other benchmarks"):
        stage.run(**arguments(folder, index=place))
    write(folder)
    array = place / "items.tokens.npy"
    whole = array.read_bytes()
    for damaged in (whole[:-8], whole[:-1] + bytes([whole[-1] ^ 1])):
        array.write_bytes(damaged)
        with pytest.raises(Corrupt, match=r"items.tokens.npy: the index is damaged"):
            open_index([folder / "bench.jsonl"], ngram=13, folder=place)
    with pytest.raises(BadData, match="not a decontamination index"):
        open_index([folder / "bench.jsonl"], ngram=13, folder=folder)


def np_writable(index: Index) -> bool:
    return any(array.flags.writeable for array in index.arrays.values() if array.size)


def test_an_empty_file_has_no_rows(folder: Path) -> None:
    (folder / "train.jsonl").write_bytes(b"")
    report = stage.run(**arguments(folder))
    assert (report.inputs, report.kept) == (0, 0)
    assert outcome(folder) == (b"", b"")


@pytest.mark.parametrize("field", ["lcs_ratio", "structure_ratio", "likeness", "ngram"])
def test_thresholds_out_of_range_are_refused(field: str) -> None:
    for value in (0, 1, -1) if field == "ngram" else (0, 1, 1.5):
        with pytest.raises(ValueError, match=field):
            DecontaminationConfig.model_validate({field: value})
