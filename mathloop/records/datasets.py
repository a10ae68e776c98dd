"""Problems, responses and documents in files; values are checked against the records' type hints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING
from functools import cache
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import Any

from mathloop.errors import BadData
from mathloop.files import check_plain, reading
from mathloop.records import parquet
from mathloop.records.columns import Column, Record, all_hold, check_values, columns_of, schema_of
from mathloop.records.rows import check_suffix, is_parquet, numbered_rows, table_of, write_rows
from mathloop.records.schema import Document, Problem, Response


def read_problems(path: Path) -> Iterator[Problem]:
    """Yields the problems of a `.parquet` (streamed by row group) or `.jsonl` file; ignores other columns.

    Raises:
        BadData: a value is missing or has the wrong type (with row and field), or the file is missing,
            truncated, not UTF-8, or JSON lines without a row.
    """
    return _read(path, Problem)


def read_responses(path: Path) -> Iterator[Response]:
    """Yields the responses of a `.parquet` or `.jsonl` file; errors as in `read_problems`."""
    return _read(path, Response)


def read_documents(path: Path) -> Iterator[Document]:
    """Yields the documents of a `.parquet` or `.jsonl` file; errors as in `read_problems`."""
    return _read(path, Document)


def response_of(path: Path, number: int, row: dict[str, Any]) -> Response:
    """Row `number` of `path` as a response; raises BadData as `read_responses` does."""
    return _record(path, number, row, Response, _response_columns())


@cache
def _response_columns() -> list[Column]:
    return columns_of(Response)


def write_problems(path: Path, problems: Iterable[Problem], row_group: int = 4096) -> int:
    """Writes problems, whole or not at all, `row_group` in memory at a time; returns their number.

    Raises:
        BadData: a record holds a value that its type does not allow.
        StorageRefused: the disk refuses the file.
    """
    return _write(path, Problem, problems, row_group)


def write_responses(path: Path, responses: Iterable[Response], row_group: int = 4096) -> int:
    """Writes responses, as `write_problems` does."""
    return _write(path, Response, responses, row_group)


def write_documents(path: Path, documents: Iterable[Document], row_group: int = 1024) -> int:
    """Writes documents, as `write_problems` does."""
    return _write(path, Document, documents, row_group)


def _read(path: Path, record: type[Record]) -> Iterator[Record]:
    with reading(path):
        check_plain(path)
    columns = columns_of(record)
    return _of_parquet(path, record, columns) if is_parquet(path) else _of_lines(path, record, columns)


def _of_parquet(path: Path, record: type[Record], columns: Sequence[Column]) -> Iterator[Record]:
    before = 0
    with parquet.opened(path) as file:
        for batch, found in parquet.read_columns(path, file, [column.name for column in columns]):
            numbers = range(before + 1, before + batch.num_rows + 1)
            values = [found.get(column.name) or [column.default] * len(numbers) for column in columns]
            yield from _made(path, numbers, record, columns, values)
            before += batch.num_rows


def _of_lines(path: Path, record: type[Record], columns: Sequence[Column]) -> Iterator[Record]:
    empty = True
    for batch in _batches(numbered_rows(path)):
        empty = False
        values = [[row.get(column.name, column.default) for _, row in batch] for column in columns]
        yield from _made(path, [number for number, _ in batch], record, columns, values)
    if empty and path.suffix == ".jsonl":
        # Parquet without rows still has columns; an empty JSON-lines file is more likely a mistake.
        needed = ", ".join(column.name for column in columns if column.default is MISSING)
        raise BadData(f"the file is empty; expected one JSON object per line with {needed}", path=path)


def _batches(rows: Iterator[tuple[int, dict[str, Any]]]) -> Iterator[list[tuple[int, dict[str, Any]]]]:
    """The rows, some at a time; those before a broken one come before its error."""
    while True:
        batch: list[tuple[int, dict[str, Any]]] = []
        try:
            batch.extend(islice(rows, parquet.READ_BATCH))
        except BadData:
            yield batch
            raise
        if not batch:
            return
        yield batch


def _made(
    path: Path,
    numbers: Sequence[int],
    record: type[Record],
    columns: Sequence[Column],
    values: list[list[Any]],
) -> Iterator[Record]:
    """The records of the rows with these numbers, given as columns."""
    if all_hold(columns, values):
        frozen = [
            map(tuple, each) if column.kind is tuple else each
            for column, each in zip(columns, values, strict=True)
        ]
        yield from map(record, *frozen)
        return
    names = [column.name for column in columns]
    for number, row in zip(numbers, zip(*values, strict=True), strict=True):
        given = {name: value for name, value in zip(names, row, strict=True) if value is not MISSING}
        yield _record(path, number, given, record, columns)


def _record(
    path: Path, number: int, row: dict[str, Any], record: type[Record], columns: Sequence[Column]
) -> Record:
    for column in columns:
        if column.name not in row and column.default is MISSING:
            message = f"missing; every row needs it ({column.expectation})"
            raise BadData(message, path=path, row=number, field=column.name)
    values = [row.get(column.name, column.default) for column in columns]
    check_values(path, number, columns, values)
    frozen: list[Any] = [tuple(value) if type(value) is list else value for value in values]
    return record(*frozen)


def _write(path: Path, record: type[Record], records: Iterable[Record], row_group: int) -> int:
    columns = columns_of(record)
    names = [column.name for column in columns]
    chunks = _checked(path, columns, records, row_group)
    if path.suffix == ".jsonl":
        rows = (row for _, values in chunks for row in zip(*values, strict=True))
        return write_rows(path, (dict(zip(names, row, strict=True)) for row in rows))
    schema = schema_of(columns)
    check_suffix(path)
    tables = (
        table_of(path, before, dict(zip(names, values, strict=True)), schema) for before, values in chunks
    )
    return parquet.write_tables(path, tables, schema)


def _checked(
    path: Path, columns: Sequence[Column], records: Iterable[Record], size: int
) -> Iterator[tuple[int, list[list[Any]]]]:
    """Yields, for `size` records at a time, how many came before them and their values by column."""
    iterator, before = iter(records), 0
    while chunk := list(islice(iterator, size)):
        values = [list(map(attrgetter(column.name), chunk)) for column in columns]
        if not all_hold(columns, values):
            for number, row in enumerate(zip(*values, strict=True), start=before + 1):
                check_values(path, number, columns, row)
        yield before, values
        before += len(chunk)
