"""Tables of dicts in Parquet or JSON lines, read and written as streams.

A file whose name ends in `.jsonl` is JSON lines; `.parquet` or no suffix, as a pipeline's artifacts have, is
Parquet, and other suffixes are refused. On reading, the first bytes decide for a name without either suffix.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from mathloop.errors import BadData, StorageRefused
from mathloop.files import check_plain, disk, open_plain, reading, replacing
from mathloop.lines import describe, parse_line, whole_lines
from mathloop.records import parquet
from mathloop.remedies import explain

_JSON = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
"""Made once: json.dumps makes one for each row."""

PARQUET_MAGIC = b"PAR1"


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of a `.parquet` or `.jsonl` file, in order.

    A missing file is reported now, not at the first row. Blank lines are ignored; an empty JSON-lines file is
    a table without rows.

    Raises:
        BadData: the file is missing, truncated, not UTF-8, or a line is not a JSON object.
    """
    return (row for _, row in numbered_rows(path))


def numbered_rows(
    path: Path,
    columns: Iterable[str] | None = None,
    broken: Callable[[BadData], None] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (row number from 1, as an editor counts lines; row). Of Parquet, only `columns` are read.

    A line that is not a JSON object is raised as BadData, or passed to `broken` and skipped.
    """
    with reading(path):
        check_plain(path)
    return _read_parquet(path, columns) if is_parquet(path) else _read_json_lines(path, broken)


def is_parquet(path: Path) -> bool:
    """Whether an existing file is read as Parquet."""
    if path.suffix in (".parquet", ".jsonl"):
        return path.suffix == ".parquet"
    with reading(path), open_plain(path) as file:
        return file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC


def check_suffix(path: Path) -> None:
    """Raises BadData unless a table can be written to a file of this name."""
    if path.suffix not in ("", ".jsonl", ".parquet"):
        message = f"a table is not written as {path.suffix}; choose a name that ends in .jsonl or .parquet"
        raise BadData(message, path=path)


def write_rows(
    path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema | None = None, row_group: int = 4096
) -> int:
    """Writes `rows` as Parquet or JSON lines, whole or not at all; returns their number.

    Args:
        schema: Parquet columns; None infers them from the first `row_group` rows.
        row_group: rows in memory at a time.

    Raises:
        BadData: a row does not fit the columns, or cannot be JSON; the name has another suffix.
        StorageRefused: the disk refuses the file.
    """
    check_suffix(path)
    if path.suffix != ".jsonl":
        return parquet.write_tables(path, _tables(path, _chunks(rows, row_group), schema), schema)
    count = 0
    with line_writer(path) as write:
        for row in rows:
            count += 1
            write(json_line(path, count, row))
    return count


@contextmanager
def line_writer(path: Path, *, at_once: bool = False) -> Iterator[Callable[[bytes], None]]:
    """Yields a function that writes a line to a file, which appears at the end, whole or not at all.

    `at_once` flushes every line: a full disk refuses the line that does not fit, not a later one.
    """
    with replacing(path) as partial:
        with disk(path):
            file = partial.open("wb")

        def write(line: bytes) -> None:
            try:  # not disk(), which costs more than the line
                file.write(line)
                if at_once:
                    file.flush()
            except OSError as error:
                raise StorageRefused(explain(error, path)) from None

        try:
            yield write
        finally:
            with disk(path):
                file.close()


def json_line(path: Path, number: int, row: Mapping[str, Any]) -> bytes:
    """The row as a line of JSON; raises BadData, naming row `number` of `path`, if it cannot be JSON."""
    try:
        return (_JSON.encode(row) + "\n").encode("utf-8")
    except (ValueError, TypeError) as error:
        field = next((name for name, value in row.items() if not _fits_json(value)), None)
        reason = parquet.first_line(error)
        message = (
            f"cannot be written as JSON ({reason}); expected finite numbers, UTF-8 text, lists and dicts"
        )
        raise BadData(message, path=path, row=number, field=field) from None


def _read_json_lines(
    path: Path, broken: Callable[[BadData], None] | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    with reading(path), open_plain(path) as file:
        yield from json_lines(path, file, broken)


def json_lines(
    path: Path, file: BinaryIO, broken: Callable[[BadData], None] | None = None
) -> Iterator[tuple[int, dict[str, Any]]]:
    """As `numbered_rows`, for a file that is already open. A line that is too long is always raised."""
    for number, line in enumerate(whole_lines(path, file), start=1):
        try:
            row = parse_line(path, number, line)
        except BadData as error:
            if broken is None:
                raise
            broken(error.bare())
            continue
        if row is not None:
            yield number, row


def _read_parquet(path: Path, columns: Iterable[str] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    with parquet.opened(path) as file:
        for _, rows in parquet.read_batches(path, file, columns):
            for row in rows:
                number += 1
                yield number, row


def _fits_json(value: Any) -> bool:
    try:
        _JSON.encode(value).encode("utf-8")
    except (ValueError, TypeError):
        return False
    return True


def _tables(
    path: Path, chunks: Iterable[list[Mapping[str, Any]]], schema: pa.Schema | None
) -> Iterator[pa.Table]:
    count = 0
    for chunk in chunks:
        table = _table(path, count, chunk, schema)
        yield table
        schema = table.schema
        count += len(chunk)


def _table(path: Path, before: int, chunk: list[Mapping[str, Any]], schema: pa.Schema | None) -> pa.Table:
    names = schema.names if schema is not None else list(dict.fromkeys(name for row in chunk for name in row))
    expected_names = set(names)
    for number, row in enumerate(chunk, start=before + 1):
        if row.keys() <= expected_names:
            continue
        for name in row:
            if name not in expected_names:
                known = ", ".join(names)
                known = known if len(known) <= 200 else known[:197] + "..."
                message = f"not among the columns {known}; give every row of the file the same fields"
                raise BadData(message, path=path, row=number, field=name)
    return table_of(path, before, {name: [row.get(name) for row in chunk] for name in names}, schema)


def table_of(path: Path, before: int, values: Mapping[str, list[Any]], schema: pa.Schema | None) -> pa.Table:
    """Columns of the rows after row `before` of `path`. Raises BadData for a value that does not fit."""
    columns = []
    for name, column in values.items():
        kind = schema.field(name).type if schema is not None else None
        try:
            columns.append(pa.array(column, type=kind))
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            number = next((i for i, value in enumerate(column) if not _fits_arrow(value, kind)), 0)
            expected = f"expected {kind}" if kind is not None else "expected one type per column"
            message = f"{expected}, found {describe(column[number])} ({parquet.first_line(error)})"
            raise BadData(message, path=path, row=before + number + 1, field=name) from None
    if schema is None:
        return pa.table(columns, list(values))
    return pa.Table.from_arrays(columns, schema=schema)


def _fits_arrow(value: Any, kind: pa.DataType | None) -> bool:
    try:
        pa.array([value], type=kind)
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        return False
    return True


def _chunks(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[Mapping[str, Any]]]:
    iterator = iter(rows)
    while chunk := list(islice(iterator, size)):
        yield chunk
