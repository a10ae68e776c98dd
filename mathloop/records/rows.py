"""Tables of plain dicts, as Parquet or JSON lines, read and written without holding them in memory.

The format: a name that ends in `.jsonl` is JSON lines; any other name is written as Parquet (a pipeline's
artifacts have no suffix). On reading, a name with neither suffix goes by its first bytes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.parquet as pq

from mathloop.errors import BadData, StorageRefused

PARQUET_MAGIC = b"PAR1"
READ_BATCH = 1024
"""Rows decoded at a time; a row group is streamed in pieces of this size."""


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Yields the rows of a `.parquet` or `.jsonl` file, in order.

    A missing file is reported now, not at the first row. JSON lines may hold blank lines; a JSON-lines file
    of no bytes is a table of no rows.

    Raises:
        BadData: the file is missing, cut off, not UTF-8, or a line is not a JSON object.
    """
    return (row for _, row in numbered_rows(path))


def numbered_rows(
    path: Path,
    columns: Iterable[str] | None = None,
    broken: Callable[[BadData], None] | None = None,
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields (row number from 1 as an editor counts lines, row); of Parquet reads only `columns`.

    A line that is not a JSON object is raised, or handed to `broken` and passed over.
    """
    if not path.exists():
        raise BadData("there is no such file; check the path", path=path)
    if not path.is_file():
        raise BadData("this is a folder; give a .parquet or .jsonl file", path=path)
    return _read_parquet(path, columns) if _is_parquet(path) else _read_json_lines(path, broken)


def write_rows(
    path: Path, rows: Iterable[Mapping[str, Any]], schema: pa.Schema | None = None, row_group: int = 4096
) -> int:
    """Writes `rows` as Parquet or JSON lines, whole or not at all, and returns how many there were.

    Args:
        schema: Parquet columns; where None they are those of the first `row_group` rows.
        row_group: rows held in memory at a time.

    Raises:
        BadData: a row does not fit the columns, or JSON cannot hold it.
        StorageRefused: the disk does not take the file.
    """
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    with _disk(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    write = _write_json_lines if path.suffix == ".jsonl" else _write_parquet
    try:
        count = write(path, partial, _chunks(rows, row_group), schema)
        with _disk(path):
            os.replace(partial, path)
    except BaseException:
        if partial.is_file():
            partial.unlink()
        raise
    return count


def describe(value: Any) -> str:
    """Says what a value is, in the words of a data file: "text '7'"."""
    if value is None:
        return "nothing (null)"
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    shown = repr(value)
    return (
        f"{names.get(type(value), type(value).__name__)} {shown if len(shown) <= 40 else shown[:37] + '...'}"
    )


def _is_parquet(path: Path) -> bool:
    if path.suffix in (".parquet", ".jsonl"):
        return path.suffix == ".parquet"
    with path.open("rb") as file:
        return file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC


def _read_json_lines(
    path: Path, broken: Callable[[BadData], None] | None
) -> Iterator[tuple[int, dict[str, Any]]]:
    # Bytes are split at \n only, so that U+2028 inside a text is not taken for the end of a line.
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = _parse(path, number, line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            except BadData as error:
                if broken is None:
                    raise
                broken(error)
                continue
            if row is not None:
                yield number, row


def _parse(path: Path, number: int, line: bytes) -> dict[str, Any] | None:
    try:
        text = line.decode("utf-8")
        if not text.strip():
            return None
        row = json.loads(text, parse_constant=_refuse_constant)
        if "\\ud" in text.lower():
            json.dumps(row, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        found = f"byte 0x{line[error.start]:02x} at column {error.start + 1}"
        raise BadData(f"not UTF-8 ({found}); save the file as UTF-8", path=path, row=number) from None
    except UnicodeEncodeError:
        expected = "half of a surrogate pair (\\ud800 to \\udfff); write the whole character"
        raise BadData(expected, path=path, row=number) from None
    except json.JSONDecodeError as error:
        cut = "" if line.endswith(b"\n") else " (the file's last line: was it cut off?)"
        message = f"not JSON: {error.msg} at column {error.colno}{cut}; expected one JSON object a line"
        raise BadData(message, path=path, row=number) from None
    except (ValueError, RecursionError) as error:
        raise BadData(
            f"JSON that cannot be used: {error}; mend or remove it", path=path, row=number
        ) from None
    if not isinstance(row, dict):
        raise BadData(f"expected a JSON object a line, found {describe(row)}", path=path, row=number)
    return row


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _read_parquet(path: Path, columns: Iterable[str] | None) -> Iterator[tuple[int, dict[str, Any]]]:
    number = 0
    try:
        # pre_buffer would hold whole row groups, of every column, in memory.
        with pq.ParquetFile(path, pre_buffer=False, page_checksum_verification=True) as file:
            names = file.schema_arrow.names
            wanted = names if columns is None else [name for name in columns if name in names]
            for batch in file.iter_batches(batch_size=READ_BATCH, columns=wanted):
                values = [column.to_pylist() for column in batch.columns]
                for index in range(batch.num_rows):
                    number += 1
                    yield number, {name: column[index] for name, column in zip(wanted, values, strict=True)}
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        message = f"not a whole Parquet file ({reason}); it was cut off or changed: write or copy it again"
        raise BadData(message, path=path, row=number + 1 if number else None) from None


def _write_json_lines(
    path: Path, partial: Path, chunks: Iterable[list[Mapping[str, Any]]], schema: pa.Schema | None
) -> int:
    count = 0
    with _disk(path):
        file = partial.open("wb")
    try:
        for chunk in chunks:
            for row in chunk:
                count += 1
                line = _json_line(path, count, row)
                with _disk(path):
                    file.write(line)
    finally:
        with _disk(path):
            file.close()
    return count


def _json_line(path: Path, number: int, row: Mapping[str, Any]) -> bytes:
    try:
        return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode("utf-8")
    except (ValueError, TypeError) as error:
        field = next((name for name, value in row.items() if not _fits_json(value)), None)
        message = (
            f"JSON lines cannot hold this ({error}); expected finite numbers, UTF-8 text, lists and dicts"
        )
        raise BadData(message, path=path, row=number, field=field) from None


def _fits_json(value: Any) -> bool:
    try:
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (ValueError, TypeError):
        return False
    return True


def _write_parquet(
    path: Path, partial: Path, chunks: Iterable[list[Mapping[str, Any]]], schema: pa.Schema | None
) -> int:
    count = 0
    writer: pq.ParquetWriter | None = None
    try:
        for chunk in chunks:
            table = _table(path, count, chunk, schema)
            with _disk(path):
                writer = writer or _parquet_writer(partial, table.schema)
                writer.write_table(table, row_group_size=len(chunk))
            schema = table.schema
            count += len(chunk)
        with _disk(path):
            writer = writer or _parquet_writer(partial, schema if schema is not None else pa.schema([]))
            writer.close()
    finally:
        if writer is not None:
            with _disk(path):
                writer.close()
    return count


def _parquet_writer(partial: Path, schema: pa.Schema) -> pq.ParquetWriter:
    return pq.ParquetWriter(partial, schema, compression="zstd", write_page_checksum=True)


def _table(path: Path, before: int, chunk: list[Mapping[str, Any]], schema: pa.Schema | None) -> pa.Table:
    names = schema.names if schema is not None else list(dict.fromkeys(name for row in chunk for name in row))
    for number, row in enumerate(chunk, start=before + 1):
        for name in row:
            if name not in names:
                message = f"not among the columns {', '.join(names)}; give write_rows a schema that has it"
                raise BadData(message, path=path, row=number, field=name)
    columns = []
    for name in names:
        values = [row.get(name) for row in chunk]
        kind = schema.field(name).type if schema is not None else None
        try:
            columns.append(pa.array(values, type=kind))
        except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
            number = next((i for i, value in enumerate(values) if not _fits_arrow(value, kind)), 0)
            expected = f"expected {kind}" if kind is not None else "expected one type a column"
            message = f"{expected}, found {describe(values[number])} ({str(error).splitlines()[0]})"
            raise BadData(message, path=path, row=before + number + 1, field=name) from None
    return pa.Table.from_arrays(columns, schema=schema) if schema is not None else pa.table(columns, names)


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


@contextmanager
def _disk(path: Path) -> Iterator[None]:
    """Turns an operating system's refusal to write into one line."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageRefused(
            f"{path}: cannot write here ({reason}); free space or choose another place"
        ) from None
