"""Training data of any format is filtered alike, and its rows are written back with all their fields."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mathloop.decontamination import stage, training_rows
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.errors import BadData
from mathloop.records.rows import read_rows
from tests.compressing import compressed

ITEM = "A rope of 54 meters is cut into pieces of 9 meters. How many cuts are needed?"
ROWS = [
    {"question": "How many legs do 7 spiders have?", "answer": "56", "note": "kept, with a comma"},
    {"question": ITEM, "answer": "5", "note": "a copy"},
    {"question": "What is the sum of the first 20 odd numbers?", "answer": "400", "note": "kept"},
]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS)


def csv_text() -> str:
    text = io.StringIO()
    table = csv.DictWriter(text, list(ROWS[0]))
    table.writeheader()
    table.writerows(ROWS)
    return text.getvalue()


def write_arrow(path: Path) -> None:
    table = pa.Table.from_pylist(ROWS)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def write_folder(path: Path) -> None:
    path.mkdir()
    (path / "part-0.jsonl").write_text(LINES.splitlines()[0] + "\n\n", encoding="utf-8")
    with gzip.open(path / "part-1.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write("\n".join(LINES.splitlines()[1:]))


WRITERS = {
    "train.jsonl.gz": lambda path: path.write_bytes(compressed(LINES.encode(), ".gz")),
    "train.jsonl.zst": lambda path: path.write_bytes(compressed(LINES.encode(), ".zst")),
    "train.csv": lambda path: path.write_text(csv_text(), encoding="utf-8"),
    "train.json": lambda path: path.write_text(json.dumps(ROWS, indent=1), encoding="utf-8"),
    "train.JSONL": lambda path: path.write_text(LINES, encoding="utf-8"),
    "train.arrow": write_arrow,
    "train": write_folder,
    "train.parquet": lambda path: pq.write_table(pa.Table.from_pylist(ROWS), path),
}


def run(
    folder: Path, train: Path, out: str = "kept.jsonl"
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    benchmark = folder / "bench.jsonl"
    benchmark.write_text(json.dumps({"question": ITEM, "answer": "5"}) + "\n", encoding="utf-8")
    stage.run(
        problems=train,
        responses=None,
        benchmarks=[benchmark],
        out=folder / out,
        removed=folder / "removed.jsonl",
        config=DecontaminationConfig(rules=("exact",)),
        workers=1,
    )
    return list(read_rows(folder / out)), list(read_rows(folder / "removed.jsonl"))


@pytest.mark.parametrize("name", WRITERS)
def test_each_format_keeps_the_same_rows_with_all_their_fields(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    kept, removed = run(tmp_path, tmp_path / name)
    assert kept == [ROWS[0], ROWS[2]]
    assert [(row["text"], row["source"]) for row in removed] == [(ITEM, "train")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        {name, "bench.jsonl", "kept.jsonl", "removed.jsonl"}
    )


def test_a_folder_becomes_one_parquet_file(tmp_path: Path) -> None:
    write_folder(tmp_path / "train")
    assert run(tmp_path, tmp_path / "train", "kept.parquet")[0] == [ROWS[0], ROWS[2]]


def test_a_broken_row_is_named_by_its_own_file_and_line_and_nothing_is_left(tmp_path: Path) -> None:
    write_folder(tmp_path / "train")
    (tmp_path / "train" / "part-2.csv").write_text(
        "question,answer\nWhat is 3 + 4?,7\n,8\n", encoding="utf-8"
    )
    with pytest.raises(BadData, match=r"part-2\.csv, row 3, field 'question'"):
        run(tmp_path, tmp_path / "train")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bench.jsonl", "train"]


def test_an_output_among_the_data_is_refused(tmp_path: Path) -> None:
    write_folder(tmp_path / "train")
    with pytest.raises(BadData, match="among the training data"):
        run(tmp_path, tmp_path / "train", "train/kept.jsonl")


def test_lines_without_their_rows_files_are_written_again(tmp_path: Path) -> None:
    WRITERS["train.csv"](tmp_path / "train.csv")
    target = training_rows.write_lines(tmp_path / "train.csv", [tmp_path / "train.csv"], tmp_path)
    target.with_suffix(".begins.json").unlink()
    training_rows.write_lines(tmp_path / "train.csv", [tmp_path / "train.csv"], tmp_path)
    error = training_rows.at_its_place(BadData("wrong", path=target, row=2), target)
    assert (error.path, error.row) == (str(tmp_path / "train.csv"), 2)
