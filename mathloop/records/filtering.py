"""Filters the rows of a file without changing them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from mathloop.files import open_plain, reading
from mathloop.records import parquet
from mathloop.records.rows import check_suffix, is_parquet, line_writer, numbered_rows, write_rows

ROW_GROUP = 4096

Keep = Callable[[int, dict[str, Any]], bool]


def filter_rows(source: Path, out: Path, columns: Sequence[str], keep: Keep) -> int:
    """Writes to `out`, in order, the rows for which `keep(number, row)` is true; returns their number.

    From JSON lines to JSON lines, kept lines stay the same byte for byte. From Parquet to Parquet, every
    column of any type is kept; `keep` sees only `columns`.

    Raises:
        BadData: a row cannot be read or, if the format changes, written.
        StorageRefused: the disk refuses the file.
    """
    check_suffix(out)
    was_parquet, becomes_parquet = is_parquet(source), out.suffix != ".jsonl"
    if was_parquet and becomes_parquet:
        with parquet.opened(source) as file:
            return parquet.write_tables(out, _kept_tables(source, file, columns, keep), file.schema_arrow)
    if was_parquet or becomes_parquet:
        return write_rows(out, (row for number, row in numbered_rows(source) if keep(number, row)))
    count = 0
    with line_writer(out) as write:
        for line in _kept_lines(source, keep):
            write(line)
            count += 1
    return count


def _kept_tables(source: Path, file: Any, columns: Sequence[str], keep: Keep) -> Iterator[pa.Table]:
    number = 0
    kept: list[pa.RecordBatch] = []
    for batch, rows in parquet.read_batches(source, file, columns, all_columns=True):
        chosen = [keep(at, row) for at, row in enumerate(rows, start=number + 1)]
        number += len(rows)
        kept.append(batch.filter(pa.array(chosen, pa.bool_())))
        if sum(part.num_rows for part in kept) >= ROW_GROUP:
            yield pa.Table.from_batches(kept)
            kept = []
    if any(part.num_rows for part in kept):
        yield pa.Table.from_batches(kept)


def _kept_lines(source: Path, keep: Keep) -> Iterator[bytes]:
    rows = numbered_rows(source)
    with reading(source), open_plain(source) as file:
        lines = enumerate(file, start=1)
        for number, row in rows:
            line = next(line for at, line in lines if at == number)
            if keep(number, row):
                yield line
