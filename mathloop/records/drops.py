"""What a stage leaves out: counted per reason and, if asked, written to a file to read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import orjson

from mathloop.records.rows import json_line, line_writer
from mathloop.records.schema import Document, Problem, Response

DROP_REASON = "drop_reason"
"""Field of a written row that says why the record was dropped."""


_FIELDS: dict[type, set[str]] = {
    kind: {field.name for field in fields(kind)} for kind in (Problem, Response, Document)
}
Dropped = Problem | Response | Document | Mapping[str, Any]


class Drops:
    """Counts dropped records; memory does not grow with their number."""

    def __init__(self, write: Callable[[Mapping[str, Any], Dropped], None] | None = None) -> None:
        """`write` takes the reason and details, and the dropped record; see `open_drops`."""
        self.counts: Counter[str] = Counter()
        """Reason → number of records, for `StageReport.dropped`."""
        self._write = write

    def add(self, reason: str, record: Dropped, **details: Any) -> None:
        """Counts one record under a reason in plain English, the same words for every such record.

        Args:
            record: written with all its fields.
            details: written beside them, such as a response's problem.
        """
        self.counts[reason] += 1
        if self._write is not None:
            self._write({DROP_REASON: reason, **details}, record)


@contextmanager
def open_drops(path: Path | None) -> Iterator[Drops]:
    """Yields Drops whose records are in the file `path` at the end, whole or not at all; nowhere for None.

    The file is JSON lines, whatever its name, one record per line in the order of dropping. Rows of problems
    and of responses have these records' fields, so `read_problems` and `read_responses` read them too.

    Raises:
        StorageRefused: the disk refuses the file.
    """
    if path is None:
        yield Drops()
        return
    with line_writer(path) as write:

        def write_row(before: Mapping[str, Any], record: Dropped) -> None:
            write(_line(before, record) or json_line(path, drops.counts.total(), {**before, **_row(record)}))

        drops = Drops(write_row)
        yield drops


def _line(before: Mapping[str, Any], record: Dropped) -> bytes | None:
    """`before` and the record as one line; None of a record that only `json_line` can write, or refuse."""
    own = _FIELDS.get(type(record))
    if own is None or not own.isdisjoint(before):
        return None
    try:  # orjson writes a record as it is, and NaN and infinity as null
        return orjson.dumps(before)[:-1] + b"," + orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)[1:]
    except orjson.JSONEncodeError:
        return None


def _row(record: Dropped) -> Mapping[str, Any]:
    if isinstance(record, Mapping):
        return record
    row = {field.name: getattr(record, field.name) for field in fields(record)}
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):  # JSON has no NaN or infinity
            row[name] = None
    return row
