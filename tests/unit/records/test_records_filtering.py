"""Filtered files keep what they keep unchanged; Parquet that Python cannot hold is read where it need not."""

from __future__ import annotations

import datetime
import importlib.util
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mathloop.errors import BadData
from mathloop.records import read_rows
from mathloop.records.filtering import filter_rows
from mathloop.records.rows import numbered_rows

AWKWARD = {
    "nanoseconds": pa.array([1, 2, 3], pa.timestamp("ns")),
    "far": pa.array([2**40, None, -(2**40)], pa.timestamp("s")),
    "zone": pa.array([1, 2, 3], pa.timestamp("ms", tz="Nowhere/Land")),
    "nested": pa.array([[1], [], None], pa.list_(pa.duration("ns"))),
    "category": pa.array(["a", "b", "a"]).dictionary_encode(),
    "bytes": pa.array([b"\xff", b"", None]),
}


def awkward(path: Path, **more: Any) -> pa.Table:
    table = pa.table({"text": ["one", "two", "three"], **AWKWARD, **more})
    pq.write_table(table, path)
    return pq.read_table(path)


def test_parquet_is_filtered_without_loss_whatever_its_types(tmp_path: Path) -> None:
    table = awkward(tmp_path / "a.parquet")
    kept = filter_rows(
        tmp_path / "a.parquet",
        tmp_path / "b",
        ["absent", "text"],
        lambda n, row: row == {"text": "two"} or n > 2,
    )
    assert kept == 2
    assert pq.read_table(tmp_path / "b").equals(table.slice(1))
    assert pq.read_schema(tmp_path / "b").equals(table.schema, check_metadata=True)
    assert filter_rows(tmp_path / "b", tmp_path / "none", [], lambda n, row: False) == 0
    assert pq.read_schema(tmp_path / "none").equals(table.schema)


def test_only_the_columns_that_are_asked_for_are_converted(tmp_path: Path) -> None:
    awkward(tmp_path / "a.parquet")
    rows = numbered_rows(tmp_path / "a.parquet", ["text"])
    assert list(rows) == [(1, {"text": "one"}), (2, {"text": "two"}), (3, {"text": "three"})]
    # With pandas beside it, which kserve brings, pyarrow has a type for nanoseconds.
    nanoseconds = () if importlib.util.find_spec("pandas") else (("nanoseconds", 1), ("nested", 1))
    for column, row in (("far", 1), ("zone", 1), *nanoseconds):
        with pytest.raises(BadData, match="a value that cannot be read") as caught:
            list(numbered_rows(tmp_path / "a.parquet", [column]))
        assert (caught.value.row, caught.value.field) == (row, column)
        assert "\n" not in str(caught.value)


def test_text_that_is_not_utf_8_and_columns_of_one_name_are_called_so(tmp_path: Path) -> None:
    raw = pa.StringArray.from_buffers(
        2, pa.py_buffer(bytes([0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0])), pa.py_buffer(b"a\xff")
    )
    pq.write_table(pa.table({"text": raw}), tmp_path / "a.parquet")
    with pytest.raises(BadData, match=r"row 2, field 'text': text that is not UTF-8"):
        list(read_rows(tmp_path / "a.parquet"))
    pq.write_table(pa.table([[1], [2]], names=["n", "n"]), tmp_path / "b.parquet")
    with pytest.raises(BadData, match="two columns have this name"):
        list(numbered_rows(tmp_path / "b.parquet", []))


def test_between_formats_a_value_that_json_cannot_hold_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"n": [1], "day": [datetime.date(2026, 1, 1)]}), tmp_path / "a.parquet")
    with pytest.raises(BadData, match=r"row 1, field 'day'.*cannot be written as JSON"):
        filter_rows(tmp_path / "a.parquet", tmp_path / "b.jsonl", ["n"], lambda n, row: True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]


@pytest.mark.parametrize("length", [0, 8, 300])
def test_parquet_that_was_cut_off_is_not_filtered(tmp_path: Path, length: int) -> None:
    awkward(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:length])
    with pytest.raises(BadData, match="not a complete Parquet file"):
        filter_rows(tmp_path / "a.parquet", tmp_path / "new" / "b", ["text"], lambda n, row: True)
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
