"""Problems, responses and documents in files; values are checked against the records' type hints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import MISSING, fields
from functools import cache
from operator import attrgetter
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import pyarrow as pa

from mathloop.errors import BadData
from mathloop.lines import describe, shown
from mathloop.records.rows import numbered_rows, write_rows
from mathloop.records.schema import Document, Problem, Response

Record = TypeVar("Record", Problem, Response, Document)

NEVER_BLANK = {"id", "problem", "problem_id"}


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
def _response_columns() -> list[_Column]:
    return _columns(Response)


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


_ACCEPTED: dict[type, tuple[type, ...]] = {float: (float, int), tuple: (tuple, list)}


class _Column(NamedTuple):
    """The values that one field of a record may have."""

    name: str
    kind: type
    nullable: bool
    choices: tuple[str, ...]
    default: Any
    """MISSING if every row must have the field."""
    free: type | None
    """A value of exactly this type is right, whatever it is."""

    @property
    def expectation(self) -> str:
        words: dict[type, str] = {str: "text", int: "a whole number", float: "a number"}
        words |= {bool: "true or false", tuple: "a list of texts"}
        expected = " or ".join(map(repr, self.choices)) or words[self.kind]
        return f"{expected} or null" if self.nullable else expected

    @property
    def accepted(self) -> tuple[type, ...]:
        return _ACCEPTED.get(self.kind) or (self.kind,)

    def check(self, value: object) -> str | None:
        """What is wrong with `value`; None if nothing is."""
        if value is None:
            return None if self.nullable else f"expected {self.expectation}, found null"
        # To Python a bool is an int; to a data set it never is.
        if isinstance(value, bool) != (self.kind is bool) or not isinstance(value, self.accepted):
            return f"expected {self.expectation}, found {describe(value)}"
        if self.choices and value not in self.choices:
            return f"expected {self.expectation}, found {shown(value)}"
        if isinstance(value, tuple | list) and not all(isinstance(each, str) for each in value):
            return f"expected {self.expectation}, found {describe(value)}"
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            return f"expected {self.expectation} of at most 64 bits"
        if self.name in NEVER_BLANK and isinstance(value, str) and not value.strip():
            return "expected text, found a blank"
        return None


def _columns(record: type[Record]) -> list[_Column]:
    hints = get_type_hints(record)
    columns: list[_Column] = []
    for field in fields(record):
        options = (
            get_args(hints[field.name]) if isinstance(hints[field.name], UnionType) else (hints[field.name],)
        )
        kind = next(option for option in options if option is not type(None))
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        kind = tuple if get_origin(kind) is tuple else kind
        free = kind if kind in (str, float, bool) and field.name not in NEVER_BLANK else None
        kind = str if choices else kind
        nullable = type(None) in options
        columns.append(_Column(field.name, kind, nullable, choices, field.default, free))
    return columns


def _schema(columns: Sequence[_Column]) -> pa.Schema:
    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    types[tuple] = pa.list_(pa.string())
    return pa.schema([pa.field(column.name, types[column.kind], column.nullable) for column in columns])


def _read(path: Path, record: type[Record]) -> Iterator[Record]:
    columns = _columns(record)
    return _records(path, record, columns, numbered_rows(path, [column.name for column in columns]))


def _records(
    path: Path,
    record: type[Record],
    columns: Sequence[_Column],
    rows: Iterator[tuple[int, dict[str, Any]]],
) -> Iterator[Record]:
    empty = True
    for number, row in rows:
        empty = False
        yield _record(path, number, row, record, columns)
    if empty and path.suffix == ".jsonl":
        # Parquet without rows still has columns; an empty JSON-lines file is more likely a mistake.
        needed = ", ".join(column.name for column in columns if column.default is MISSING)
        raise BadData(f"the file is empty; expected one JSON object per line with {needed}", path=path)


def _record(
    path: Path, number: int, row: dict[str, Any], record: type[Record], columns: Sequence[_Column]
) -> Record:
    for column in columns:
        if column.name not in row and column.default is MISSING:
            message = f"missing; every row needs it ({column.expectation})"
            raise BadData(message, path=path, row=number, field=column.name)
    values = [row.get(column.name, column.default) for column in columns]
    _check(path, number, columns, values)
    frozen: list[Any] = [tuple(value) if type(value) is list else value for value in values]
    return record(*frozen)


def _write(path: Path, record: type[Record], records: Iterable[Record], row_group: int) -> int:
    columns = _columns(record)
    names = [column.name for column in columns]
    values_of = attrgetter(*names)

    def rows() -> Iterator[dict[str, Any]]:
        for number, item in enumerate(records, start=1):
            values = values_of(item)
            _check(path, number, columns, values)
            yield dict(zip(names, values, strict=True))

    return write_rows(path, rows(), _schema(columns), row_group)


def _check(path: Path, number: int, columns: Sequence[_Column], values: Sequence[Any]) -> None:
    for column, value in zip(columns, values, strict=True):
        kind = type(value)
        if kind is column.free or (value is None and column.nullable):
            continue  # this and the next two are the usual cases, ten times faster
        if kind is int and column.kind is int and -(2**63) <= value < 2**63:
            continue
        usual = value in column.choices if column.choices else value and kind is str and not value.isspace()
        if usual and kind is str and column.kind is str:
            continue
        wrong = column.check(value)
        if wrong is not None:
            raise BadData(f"{wrong}; fix or remove the row", path=path, row=number, field=column.name)
