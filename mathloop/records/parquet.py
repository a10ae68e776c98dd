"""Parquet, read in small batches; Arrow's errors about broken files and values become one line."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from mathloop.errors import BadData
from mathloop.files import check_plain, disk, reading, replacing

READ_BATCH = 1024
"""Rows decoded at a time: row groups are streamed in batches of this size."""
_REFUSALS = (pa.ArrowException, ValueError, OverflowError, LookupError)
"""Raised by Arrow for values that Python cannot represent: nanoseconds, year 100,000, unknown time zones."""


@contextmanager
def opened(path: Path) -> Iterator[pq.ParquetFile]:
    """Opens a Parquet file; raises BadData, now or while it is read, if it is not a valid one."""
    with reading(path):
        check_plain(path)
        try:
            # pre_buffer would hold whole row groups, of every column, in memory.
            with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
                names = file.schema_arrow.names
                twice = next((name for name in names if names.count(name) > 1), None)
                if twice is not None:
                    raise BadData("two columns have this name; rename one", path=path, field=twice)
                yield file
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            message = f"not a complete Parquet file ({first_line(error)}); it was truncated or changed"
            raise BadData(f"{message}: write or copy it again", path=path) from None


def read_batches(
    path: Path, file: pq.ParquetFile, columns: Iterable[str] | None, *, all_columns: bool = False
) -> Iterator[tuple[pa.RecordBatch, list[dict[str, Any]]]]:
    """Yields (batch, its rows). Rows have `columns` (None: all), and so do batches unless `all_columns`."""
    for batch, values in read_columns(path, file, columns, all_columns=all_columns):
        yield batch, [{name: values[name][index] for name in values} for index in range(batch.num_rows)]


def read_columns(
    path: Path, file: pq.ParquetFile, columns: Iterable[str] | None, *, all_columns: bool = False
) -> Iterator[tuple[pa.RecordBatch, dict[str, list[Any]]]]:
    """Yields (batch, its values by column), as `read_batches`, without columns that the file lacks."""
    number = 0
    names = file.schema_arrow.names
    wanted = names if columns is None else [name for name in columns if name in names]
    for batch in file.iter_batches(batch_size=READ_BATCH, columns=names if all_columns else wanted):
        yield batch, {name: column_values(path, number, name, batch.column(name)) for name in wanted}
        number += batch.num_rows


def write_tables(path: Path, tables: Iterable[pa.Table], schema: pa.Schema | None) -> int:
    """Writes each table as a row group, the file whole or not at all; returns the number of rows.

    Without tables, the file has the columns of `schema` and no rows.
    """
    count = 0
    writer: pq.ParquetWriter | None = None
    with replacing(path) as partial:
        try:
            for table in tables:
                with disk(path):
                    writer = writer or _writer(partial, table.schema)
                    writer.write_table(table, row_group_size=max(1, table.num_rows))
                count += table.num_rows
            with disk(path):
                writer = writer or _writer(partial, schema if schema is not None else pa.schema([]))
        finally:
            if writer is not None:
                with disk(path):
                    writer.close()
    return count


def first_line(error: Exception) -> str:
    """The first line of a library's error, short enough for a message."""
    lines = str(error).splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")


def _writer(partial: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(partial, schema, compression="zstd", write_page_checksum=True)


def column_values(path: Path, before: int, name: str, column: pa.Array) -> list[Any]:
    """A column as Python values; `before` is the number of rows of the file before it, for messages.

    Columns of mixed values, which `datasets` writes as JSON in an extension type, are decoded.

    Raises:
        BadData: Python cannot represent a value.
    """
    try:
        if pa.types.is_float32(column.type):
            # As it is written: 0.1 and not the double beside it, 0.10000000149011612.
            written = column.cast(pa.string()).to_pylist()
            return [None if value is None else float(value) for value in written]
        values = column.to_pylist()
        return [_decoded(value, column.type) for value in values] if _holds_json(column.type) else values
    except _REFUSALS:
        pass
    values = []
    for number, scalar in enumerate(column, start=before + 1):
        try:
            values.append(_decoded(scalar.as_py(), column.type))
        except _REFUSALS as error:
            message = f"a value that cannot be read ({first_line(error)}); store it as text"
            if isinstance(error, UnicodeDecodeError):
                message = "text that is not UTF-8; write the file again as UTF-8"
            raise BadData(message, path=path, row=number, field=name) from None
    return values


def _holds_json(kind: pa.DataType) -> bool:
    inner = [kind.field(index).type for index in range(kind.num_fields)] if kind.num_fields else []
    return isinstance(kind, pa.JsonType) or any(map(_holds_json, inner))


def _decoded(value: Any, kind: pa.DataType) -> Any:
    """A value of Arrow's type `kind` with the JSON in it decoded; raises ValueError if it is none."""
    if value is None or not _holds_json(kind):
        return value
    if isinstance(kind, pa.JsonType):
        return json.loads(value)
    if isinstance(value, dict):
        return {name: _decoded(each, kind.field(name).type) for name, each in value.items()}
    if isinstance(value, list) and hasattr(kind, "value_type"):
        return [_decoded(each, kind.value_type) for each in value]
    return value
