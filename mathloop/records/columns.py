"""Fields of records as columns of a table: which values each may have, told a value or a column at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from itertools import chain
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

import pyarrow as pa

from mathloop.errors import BadData
from mathloop.lines import describe, shown
from mathloop.records.schema import Document, Problem, Response

Record = TypeVar("Record", Problem, Response, Document)

NEVER_BLANK = {"id", "problem", "problem_id"}
_LEAST, _MOST = -(2**63), 2**63 - 1

_ACCEPTED: dict[type, tuple[type, ...]] = {float: (float, int), tuple: (tuple, list)}


class Column(NamedTuple):
    """The values that one field of a record may have."""

    name: str
    kind: type
    nullable: bool
    choices: tuple[str, ...]
    default: Any
    """MISSING if every row must have the field."""

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
        if isinstance(value, int) and not _LEAST <= value <= _MOST:
            return f"expected {self.expectation} of at most 64 bits"
        if self.name in NEVER_BLANK and isinstance(value, str) and not value.strip():
            return "expected text, found a blank"
        return None

    def holds(self, values: Sequence[Any]) -> bool:
        """Whether all values are right, told from the column as a whole; if not, `check` says which is wrong.

        False also for a few right ones: an integer in a column of floats, a subclass of a type.
        """
        kinds = set(map(type, values))
        if NoneType in kinds:
            if not self.nullable:
                return False
            kinds.remove(NoneType)
            values = [value for value in values if value is not None]
        if not kinds:
            return True
        if self.kind is tuple:
            return kinds <= {tuple, list} and set(map(type, chain.from_iterable(values))) <= {str}
        if kinds != {self.kind}:
            return False
        if self.choices:
            return set(values) <= set(self.choices)
        if self.kind is int:
            return bool(min(values) >= _LEAST and max(values) <= _MOST)
        return self.name not in NEVER_BLANK or all(map(str.strip, values))


def columns_of(record: type[Record]) -> list[Column]:
    hints = get_type_hints(record)
    columns: list[Column] = []
    for field in fields(record):
        options = (
            get_args(hints[field.name]) if isinstance(hints[field.name], UnionType) else (hints[field.name],)
        )
        kind = next(option for option in options if option is not type(None))
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        kind = tuple if get_origin(kind) is tuple else kind
        kind = str if choices else kind
        nullable = type(None) in options
        columns.append(Column(field.name, kind, nullable, choices, field.default))
    return columns


def schema_of(columns: Sequence[Column]) -> pa.Schema:
    types = {str: pa.string(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    types[tuple] = pa.list_(pa.string())
    return pa.schema([pa.field(column.name, types[column.kind], column.nullable) for column in columns])


def check_values(path: Path, number: int, columns: Sequence[Column], values: Sequence[Any]) -> None:
    """Raises BadData for the first wrong value of row `number` of `path`."""
    for column, value in zip(columns, values, strict=True):
        wrong = column.check(value)
        if wrong is not None:
            raise BadData(f"{wrong}; fix or remove the row", path=path, row=number, field=column.name)


def all_hold(columns: Sequence[Column], values: Sequence[Sequence[Any]]) -> bool:
    """Whether each column holds its values."""
    return all(column.holds(each) for column, each in zip(columns, values, strict=True))
