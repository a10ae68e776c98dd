"""What a stage leaves out: counted per reason and, if asked, written to a file to read."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from mathloop.records.rows import json_line, line_writer
from mathloop.records.schema import Document, Problem, Response

DROP_REASON = "drop_reason"
"""Field of a written row that says why the record was dropped."""


_NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in (Problem, Response, Document)}


class Drops:
    """Counts dropped records; memory does not grow with their number."""

    def __init__(self, write: Callable[[Mapping[str, Any]], None] | None = None) -> None:
        """`write` takes each dropped record as a row; see `open_drops`."""
        self.counts: Counter[str] = Counter()
        """Reason → number of records, for `StageReport.dropped`."""
        self._write = write

    def add(
        self, reason: str, record: Problem | Response | Document | Mapping[str, Any], **details: Any
    ) -> None:
        """Counts one record under a reason in plain English, the same words for every such record.

        Args:
            record: written with all its fields.
            details: written beside them, such as a response's problem.
        """
        self.counts[reason] += 1
        if self._write is not None:
            self._write({DROP_REASON: reason, **details, **_row(record)})


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
        drops = Drops(lambda row: write(json_line(path, drops.counts.total(), row)))
        yield drops


def _row(record: Problem | Response | Document | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(record, Mapping):
        return record
    row = {name: getattr(record, name) for name in _NAMES[type(record)]}
    for name, value in row.items():
        if isinstance(value, float) and not math.isfinite(value):  # JSON has no NaN or infinity
            row[name] = None
    return row
