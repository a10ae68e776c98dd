"""The files of a data set, and their rows: Parquet, JSON lines, JSON, CSV, gzip, zstd, saved Arrow, folders.

A suffix decides, in upper or lower case; `.json` may hold a list, an object with a list, or lines.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import re
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa

from mathloop import lines
from mathloop.data_names import READABLE, SUFFIXES, compression_of, is_known, may_be_data, suffix_of
from mathloop.errors import BadData
from mathloop.files import check_plain, open_plain, reading
from mathloop.problems.sources.json_rows import Broken, Rows, json_rows
from mathloop.records import parquet
from mathloop.records.rows import is_parquet, json_lines, numbered_rows

SPLITS = ("train", "test", "validation", "valid", "val", "dev", "eval")
_SHARD = re.compile(r"[-_.]?\d{1,6}[-_]of[-_]\d{1,6}$")
_GENERIC = {*SPLITS, "data", "main", "default", "dataset", "problems", "all", "jsonl", "parquet"}
_WHOLE = ("main", "default")
"""Names of the configuration that holds a whole data set; others beside it hold the same rows otherwise."""
_LONGEST_CELL = 1 << 24


def name_of(path: Path) -> str:
    """What a file is called in results: its own name or, of a split or shard, that of the folder it is in."""
    stem = _stem(path)
    absolute = Path(os.path.abspath(path))  # the names of links, not of what they lead to
    if stem.lower() in SPLITS or (stem.lower() in _GENERIC and _SHARD.search(path.name.partition(".")[0])):
        named = (parent.name for parent in absolute.parents)
        return next((name for name in named if name and name.lower() not in _GENERIC), stem)
    return stem


def data_files(place: Path, split: str | None = None) -> list[Path]:
    """The data files at a place, in order: one file, a folder of shards, a saved data set, one of splits.

    Raises:
        BadData: nothing is there; a file cannot be read; there are several splits and none is chosen, or not
            the chosen one.
    """
    with reading(place):
        if not place.is_dir():
            check_plain(place)
            return [place]
        files = sorted(
            path for path in place.rglob("*") if path.is_file() and may_be_data(path.relative_to(place))
        )
    unread = next((path for path in files if not is_known(path)), None)
    if unread is not None:
        raise BadData(f"a file that cannot be read is in the folder; expected {READABLE}", path=unread)
    if not files:
        raise BadData(f"no data file in this folder; expected {', '.join(SUFFIXES)}", path=place)
    splits = {path: _split_of(path, place) for path in files}
    present = sorted({found for found in splits.values() if found})
    if split is not None:
        files = [path for path in files if splits[path] == split]
        if not files:
            found = f"found {', '.join(present)}" if present else "its files name none"
            raise BadData(f"no split {split!r} in this folder; {found}", path=place)
    return files


def check_once(place: Path, files: Sequence[Path]) -> None:
    """Raises BadData if the files of a folder are the same data twice: in two formats or configurations."""
    known: dict[tuple[Path, str], Path] = {}
    for path in files:
        other = known.setdefault((path.parent, _stem(path).lower()), path)
        if _format(other) != _format(path):
            message = f"{other.name} beside it would be the same data again; keep one, or name the file"
            raise BadData(message, path=path)
    inner = (path.relative_to(place).parts[:-1] for path in files if path != place)
    sets = sorted({parts[0] for parts in inner if parts and parts[0].lower() not in (*SPLITS, "data")})
    if len(sets) > 1 and any(name in _WHOLE for name in sets):
        message = f"it has the configurations {', '.join(sets)}; choose one of these folders"
        raise BadData(message, path=place)


def splits_in(place: Path) -> list[str]:
    """The splits that the files of a folder are named after."""
    return sorted({found for path in data_files(place) if (found := _split_of(path, place))})


def file_rows(path: Path, columns: Collection[str] | None, broken: Broken = None) -> Rows:
    """Yields (row number from 1, row) of one file; of Parquet and Arrow, only `columns` are read.

    A row that is no object is raised as BadData, or passed to `broken` and skipped.
    """
    suffix = suffix_of(path)
    _check_content(path)
    if compression_of(path):
        with _decompressed(path) as file:
            yield from _text_rows(path, suffix, file, broken)
    elif suffix == ".arrow":
        yield from _arrow_rows(path, columns)
    elif suffix == ".parquet" or (suffix not in SUFFIXES and is_parquet(path)):
        with parquet.opened(path) as table:
            number = 0
            for _, rows in parquet.read_batches(path, table, columns):
                for row in rows:
                    number += 1
                    yield number, row
    elif suffix in (".json", ".csv", ".tsv"):
        with reading(path), open_plain(path) as plain:
            yield from _text_rows(path, suffix, plain, broken)
    elif path.suffix == ".jsonl" or suffix not in SUFFIXES:
        yield from numbered_rows(path, columns, broken)
    else:  # .JSONL
        with reading(path), open_plain(path) as plain:
            yield from json_lines(path, plain, broken)


def _check_content(path: Path) -> None:
    """Raises BadData for a pointer of Git LFS, and for a format of another name that is not read."""
    with reading(path), open_plain(path) as file:
        start = file.read(64).lstrip(b"\xef\xbb\xbf \t\r\n")
    if start.startswith(b"version https://git-lfs"):
        raise BadData("a pointer of Git LFS and not the file itself; run `git lfs pull` there", path=path)
    if start.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise BadData("UTF-16; write the file again as UTF-8", path=path)
    foreign = path.suffix and suffix_of(path) not in SUFFIXES and not start.startswith(b"{")
    if foreign and start and not is_parquet(path):
        raise BadData(f"of a format that is not read; expected {', '.join(SUFFIXES)}", path=path)


def column_names(path: Path) -> list[str]:
    """All columns of a Parquet file; empty for the others, whose rows name theirs."""
    if suffix_of(path) != ".parquet" and (suffix_of(path) in SUFFIXES or not is_parquet(path)):
        return []
    with parquet.opened(path) as table:
        return list(table.schema_arrow.names)


def _text_rows(path: Path, suffix: str, file: Any, broken: Broken) -> Rows:
    if suffix in (".csv", ".tsv"):
        yield from _csv_rows(path, file, "\t" if suffix == ".tsv" else ",", broken)
    elif suffix == ".json":
        yield from json_rows(path, file, broken)
    else:
        yield from json_lines(path, file, broken)


def _format(path: Path) -> tuple[str, str]:
    return suffix_of(path), compression_of(path)


def _stem(path: Path) -> str:
    name = path.name
    for suffix in (compression_of(path), suffix_of(path)):
        name = name[: -len(suffix)] if suffix and name.lower().endswith(suffix) else name
    return _SHARD.sub("", name) or path.stem


def _split_of(path: Path, root: Path | None = None) -> str | None:
    """The split that a file's name or a folder below `root` says."""
    named = [_stem(path), *(parent.name for parent in path.parents if root in parent.parents)]
    words = [re.split(r"[-_.]", name.lower())[0] for name in named]
    return next((word for word in words if word in SPLITS), None)


@contextmanager
def _decompressed(path: Path) -> Iterator[BinaryIO]:
    with reading(path):
        check_plain(path)
        if compression_of(path) == ".zst":
            yield from _zstd(path)
            return
        try:
            with gzip.open(path, "rb") as file:
                yield file  # type: ignore[misc]
        except gzip.BadGzipFile as error:
            message = f"not a gzip file ({error}); remove .gz from its name, or copy it again"
            raise BadData(message, path=path) from None
        except (EOFError, zlib.error) as error:
            raise BadData(f"not a complete gzip file ({error}); copy it again", path=path) from None


def _zstd(path: Path) -> Iterator[BinaryIO]:
    try:
        with pa.OSFile(str(path)) as raw, pa.CompressedInputStream(raw, "zstd") as stream:
            yield io.BufferedReader(stream)
    except OSError as error:
        if error.errno:
            raise
        message = f"not a complete zstd file ({parquet.first_line(error)}); copy it again"
        raise BadData(message, path=path) from None


def _arrow_rows(path: Path, columns: Collection[str] | None) -> Rows:
    number = 0
    with reading(path):
        check_plain(path)
        try:
            with pa.OSFile(str(path)) as file:
                for batch in _arrow_batches(file):
                    names = [name for name in batch.schema.names if columns is None or name in columns]
                    values = [parquet.column_values(path, number, name, batch.column(name)) for name in names]
                    for row in zip(*values, strict=True):
                        number += 1
                        yield number, dict(zip(names, row, strict=True))
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno:
                raise
            message = f"not a complete Arrow file ({parquet.first_line(error)}); write or copy it again"
            raise BadData(message, path=path) from None


def _arrow_batches(file: Any) -> Iterator[Any]:
    magic = file.read(6)
    file.seek(0)
    if magic != b"ARROW1":
        yield from pa.ipc.open_stream(file)
        return
    reader = pa.ipc.open_file(file)
    for index in range(reader.num_record_batches):
        yield reader.get_batch(index)


def _lines_of(path: Path, text: io.TextIOWrapper) -> Iterator[str]:
    number = 0
    while line := text.readline(lines.LONGEST + 1):
        number += 1
        lines.check_length(path, number, len(line))
        yield line


def _csv_rows(path: Path, file: BinaryIO, delimiter: str, broken: Broken) -> Rows:
    csv.field_size_limit(_LONGEST_CELL)
    text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
    number = 1
    try:
        lines_ = _lines_of(path, text)
        first = next(lines_, "")
        if delimiter == "," and ";" in first and "," not in first:
            delimiter = ";"  # as spreadsheets write where the comma is the decimal sign
        table = csv.DictReader(chain([first], lines_), delimiter=delimiter, strict=True)
        names = [name for name in table.fieldnames or () if name]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            message = "two columns have this name; rename or remove one of them"
            raise BadData(message, path=path, row=1, field=twice)
        for number, row in enumerate(table, start=2):
            if None in row or None in row.values():
                error = BadData(
                    f"not as many cells as the first line has; quote texts that hold a {delimiter!r}",
                    path=path,
                    row=number,
                )
                if broken is None:
                    raise error
                broken(error)
                continue
            yield number, row
    except csv.Error as error:
        raise BadData(f"not CSV ({error}); write the file again", path=path, row=number + 1) from None
    except UnicodeDecodeError:
        raise BadData("not UTF-8; write the file again as UTF-8", path=path, row=number + 1) from None
    finally:
        text.detach()
