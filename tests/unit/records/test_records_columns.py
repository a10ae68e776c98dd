"""Columns are told right or wrong as a whole, and then a value at a time: both agree."""

from __future__ import annotations

import random
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mathloop.errors import BadData
from mathloop.records import Document, Problem, Response, read_responses, read_rows, write_responses
from mathloop.records.columns import columns_of

VALUES = [
    None, True, False, 0, 7, -(2**63), 2**63, -(2**63) - 1, 0.5, float("nan"), "", " ", "\u3000", "a",
    "cot", "en", "tir", "stop", (), ("a",), ("a", 1), ["a"], [None], {}, b"a",
]  # fmt: skip


@pytest.mark.parametrize("record", [Problem, Response, Document])
def test_a_column_that_holds_has_no_wrong_value(record: type[Any]) -> None:
    drawn = random.Random(1)
    for column in columns_of(record):
        for _ in range(400):
            values = drawn.choices(VALUES, k=drawn.randint(1, 3))
            wrong = [value for value in values if column.check(value)]
            if column.holds(values):
                assert not wrong, (column.name, values)
            elif not wrong:  # what it leaves to a look at each value
                assert column.kind is float
                assert int in map(type, values)
        assert column.holds([])


def responses(count: int) -> list[Response]:
    return [
        Response(f"p{n}", n % 4, "cot", f"It is {n}.", str(n), n % 2 == 0, model="m") for n in range(count)
    ]


@pytest.mark.parametrize("name", ["r.parquet", "r.jsonl", "r"])
def test_what_is_written_is_read_over_the_ends_of_batches(tmp_path: Path, name: str) -> None:
    rows = responses(2500)
    assert write_responses(tmp_path / name, rows, row_group=1000) == 2500
    assert list(read_responses(tmp_path / name)) == rows


@pytest.mark.parametrize("name", ["r.parquet", "r.jsonl"])
def test_a_wrong_value_is_named_by_its_row_beyond_the_first_batch(tmp_path: Path, name: str) -> None:
    rows = responses(2500)
    rows[2100] = replace(rows[2100], mode="prose")  # type: ignore[arg-type]
    with pytest.raises(BadData) as caught:
        write_responses(tmp_path / name, rows, row_group=1000)
    assert (caught.value.row, caught.value.field) == (2101, "mode")
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_value_in_parquet_is_named_by_its_row_and_the_rows_before_it_are_read(tmp_path: Path) -> None:
    names = [field.name for field in fields(Response)]
    columns = {name: [getattr(row, name) for row in responses(2500)] for name in names}
    columns["problem_id"][2100] = " "
    del columns["temperature"]
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    read = []
    with pytest.raises(BadData) as caught:
        read.extend(read_responses(tmp_path / "r.parquet"))
    assert (caught.value.row, caught.value.field) == (2101, "problem_id")
    del columns["problem_id"]
    pq.write_table(pa.table(columns), tmp_path / "r.parquet")
    with pytest.raises(BadData, match="missing; every row needs it") as caught:
        list(read_responses(tmp_path / "r.parquet"))
    assert (caught.value.row, caught.value.field) == (1, "problem_id")


def test_integers_in_a_column_of_floats_are_floats_in_parquet(tmp_path: Path) -> None:
    rows = [replace(row, temperature=0, reward=3) for row in responses(3)]
    write_responses(tmp_path / "r.parquet", rows)
    assert {type(row["temperature"]) for row in read_rows(tmp_path / "r.parquet")} == {float}
    assert list(read_responses(tmp_path / "r.parquet")) == rows


def test_lines_before_a_broken_one_are_read(tmp_path: Path) -> None:
    write_responses(tmp_path / "r.jsonl", responses(1500))
    lines = (tmp_path / "r.jsonl").read_text().splitlines()
    lines[1200] = "{"
    (tmp_path / "r.jsonl").write_text("\n\n".join(lines))
    read: list[Response] = []
    with pytest.raises(BadData) as caught:
        read.extend(read_responses(tmp_path / "r.jsonl"))
    assert caught.value.row == 2401
    assert read == responses(1200)
