"""Tables of dicts in and out of Parquet and JSON lines, and files that are broken."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mathloop.errors import BadData, StorageRefused
from mathloop.records import read_rows, write_rows

ROWS: list[dict[str, Any]] = [
    {
        "id": "1",
        "text": "line\nbreak, U+2028 \u2028, 中文，「引号」",
        "score": 0.5,
        "tags": ["a", "b"],
        "none": None,
    },
    {"id": "2", "text": "", "score": -1e300, "tags": [], "none": None},
    {"id": "3", "text": '{"quoted": "\\\\boxed{7}"}', "score": None, "tags": ["c"], "none": None},
]


@pytest.mark.parametrize("name", ["rows.parquet", "rows.jsonl", "rows"])
def test_rows_come_back_as_they_went(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new folder" / name
    assert write_rows(path, iter(ROWS)) == 3
    assert list(read_rows(path)) == ROWS
    assert os.listdir(path.parent) == [name]


def test_a_file_without_suffix_is_read_by_its_first_bytes(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", ROWS)
    write_rows(tmp_path / "a.parquet", ROWS)
    for name in ("a.jsonl", "a.parquet"):
        (tmp_path / name).rename(tmp_path / "artifact")
        assert list(read_rows(tmp_path / "artifact")) == ROWS


def test_chinese_is_readable_in_json_lines(tmp_path: Path) -> None:
    write_rows(tmp_path / "a.jsonl", [{"text": "小明"}])
    assert (tmp_path / "a.jsonl").read_bytes() == '{"text": "小明"}\n'.encode()


def test_parquet_is_written_in_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    write_rows(path, ({"n": n} for n in range(25)), row_group=10)
    with pq.ParquetFile(path) as file:
        assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [10, 10, 5]
    assert [row["n"] for row in read_rows(path)] == list(range(25))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_memory_does_not_grow_with_the_table(tmp_path: Path, name: str) -> None:
    """60 MB of rows pass through; neither Python's heap nor Arrow's pool holds a quarter of them."""
    path = tmp_path / name
    rows = ({"n": n, "text": f"{n:09d}" * 222} for n in range(30_000))
    peaks = []

    def watched(items: Any) -> Any:
        for n, row in enumerate(items):
            if n % 1000 == 0:
                peaks.append(pa.total_allocated_bytes())
            yield row

    tracemalloc.start()
    try:
        assert write_rows(path, watched(rows), row_group=1000) == 30_000
        assert sum(row["n"] for row in watched(read_rows(path))) == 30_000 * 29_999 // 2
        peaks.append(tracemalloc.get_traced_memory()[1])
    finally:
        tracemalloc.stop()
    assert max(peaks) < 15_000_000


def test_no_rows_are_a_table_too(tmp_path: Path) -> None:
    for name in ("a.parquet", "a.jsonl"):
        assert write_rows(tmp_path / name, []) == 0
        assert list(read_rows(tmp_path / name)) == []


def test_a_byte_order_mark_and_blank_lines_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"n": 1}\r\n\r\n  \n{"n": 2}')
    assert list(read_rows(path)) == [{"n": 1}, {"n": 2}]


BROKEN_LINES = {
    "cut off": (b'{"n": 1}\n{"n": ', 2, "cut off"),
    "no object": (b'{"n": 1}\n\n[1]\n', 3, "expected a JSON object"),
    "gbk": (b'{"n": 1}\n' + '{"n": "题目"}\n'.encode("gbk"), 2, "UTF-8"),
    "utf-16": ('{"n": 1}\n'.encode("utf-16"), 1, "UTF-8"),
    "not a number": (b'{"n": NaN}\n', 1, "NaN"),
    "half a surrogate": (b'{"n": "\\uD83D"}\n', 1, "surrogate"),
    "too deep": (b"[" * 200_000, 1, "JSON"),
    "too many digits": (b'{"n": ' + b"9" * 5000 + b"}\n", 1, "JSON"),
    "binary": (bytes(range(256)), 1, "JSON"),
}


@pytest.mark.parametrize("case", BROKEN_LINES)
def test_a_broken_line_is_named_in_one_line(tmp_path: Path, case: str) -> None:
    data, row, said = BROKEN_LINES[case]
    path = tmp_path / "a.jsonl"
    path.write_bytes(data)
    with pytest.raises(BadData) as caught:
        list(read_rows(path))
    assert caught.value.row == row
    assert str(caught.value).startswith(f"{path}, row {row}: ")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_rows_before_a_broken_one_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"n": 1}\n{"n": 2}\noops\n')
    rows = read_rows(tmp_path / "a.jsonl")
    assert [next(rows), next(rows)] == [{"n": 1}, {"n": 2}]
    with pytest.raises(BadData, match="row 3"):
        next(rows)


def test_a_missing_file_or_a_folder_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no such file"):
        read_rows(tmp_path / "none.parquet")
    with pytest.raises(BadData, match="folder"):
        read_rows(tmp_path)


def test_parquet_cut_off_anywhere_is_one_line(tmp_path: Path) -> None:
    whole, path = tmp_path / "whole.parquet", tmp_path / "cut.parquet"
    write_rows(whole, ({"n": n, "text": str(n)} for n in range(5000)), row_group=1000)
    data = whole.read_bytes()
    for length in [0, 3, 4, 8, len(data) // 2, len(data) - 8, len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(BadData, match=r"cut\.parquet.*not a complete Parquet file") as caught:
            list(read_rows(path))
        assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_parquet_is_never_read_as_data(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [{"n": n * 7919 % 10_007, "text": str(n)} for n in range(3000)]
    write_rows(path, rows)
    data = path.read_bytes()
    refused = 0
    for place in range(100, len(data) // 2, len(data) // 60):
        path.write_bytes(data[:place] + bytes([data[place] ^ 16]) + data[place + 1 :])
        try:
            assert list(read_rows(path)) == rows
        except BadData:
            refused += 1
    assert refused > 20


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_a_value_that_does_not_fit_is_named_and_the_old_file_stays(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_rows(path, [{"n": 1.0, "text": "old"}])
    bad: dict[str, Any] = {"n": object(), "text": "x"}
    with pytest.raises(BadData) as caught:
        write_rows(path, [{"n": 1.0, "text": "new"}, {"n": 2.0, "text": "new"}, bad])
    assert (caught.value.row, caught.value.field) == (3, "n")
    assert list(read_rows(path)) == [{"n": 1.0, "text": "old"}]
    assert os.listdir(tmp_path) == [name]


def test_what_json_cannot_hold_is_refused(tmp_path: Path) -> None:
    for value in (float("nan"), float("inf"), "\ud83d", {1, 2}):
        with pytest.raises(BadData) as caught:
            write_rows(tmp_path / "a.jsonl", [{"fine": 1, "bad": value}])
        assert (caught.value.row, caught.value.field) == (1, "bad")


def test_columns_are_those_of_the_schema_or_of_the_first_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    schema = pa.schema([("n", pa.int32()), ("text", pa.string())])
    write_rows(path, [{"n": None}, {"n": 5, "text": "x"}], schema)
    assert list(read_rows(path)) == [{"n": None, "text": None}, {"n": 5, "text": "x"}]
    assert pq.read_schema(path).equals(schema)
    with pytest.raises(BadData, match=r"row 1, field 'other'"):
        write_rows(path, [{"other": 5}], schema)
    with pytest.raises(BadData, match=r"row 3, field 'late'"):
        write_rows(path, [{"n": 1}, {"n": 2}, {"n": 3, "late": 1}], row_group=2)
    with pytest.raises(BadData, match=r"row 2, field 'n'.*int32"):
        write_rows(path, [{"n": 1}, {"n": 2**40}], schema)


def test_an_error_of_the_rows_themselves_passes_and_leaves_nothing(tmp_path: Path) -> None:
    def rows() -> Any:
        yield {"n": 1}
        raise OSError("the sampler's own")

    for name in ("a.parquet", "a.jsonl"):
        with pytest.raises(OSError, match="the sampler's own"):
            write_rows(tmp_path / name, rows(), row_group=1)
    assert os.listdir(tmp_path) == []


def test_a_disk_that_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageRefused, match="a file is where a folder should be"):
        write_rows(tmp_path / "file" / "a.parquet", ROWS)


LIMITED = """
import resource, sys
from pathlib import Path
from mathloop.errors import StorageRefused
from mathloop.records import write_rows
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
import random
rows = ({"n": str(random.random())} for _ in range(100_000))
try:
    write_rows(Path(sys.argv[1]), rows, row_group=1000)
except StorageRefused as error:
    print(error)
"""


@pytest.mark.parametrize("name", ["a.parquet", "a.jsonl"])
def test_a_disk_that_runs_full_in_the_middle_leaves_nothing(tmp_path: Path, name: str) -> None:
    """A limit on the file's size stands in for a full disk."""
    answer = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / name)], capture_output=True, text=True, check=True
    )
    assert answer.stdout.startswith(f"{tmp_path / name}: File too large; choose")
    assert answer.stdout.count("\n") == 1
    assert os.listdir(tmp_path) == []
