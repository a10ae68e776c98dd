"""Training data in any format that problems are read from.

JSON lines and Parquet are cut into shards as they are. Everything else (gzip, zstd, CSV, JSON, saved Arrow,
folders) is first written as JSON lines with all its fields, where each row keeps its number.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from mathloop.data_names import SUFFIXES, compression_of, suffix_of
from mathloop.errors import BadData
from mathloop.files import write_file
from mathloop.problems.sources.files import check_once, data_files, file_rows
from mathloop.problems.sources.reader import message_of
from mathloop.records.rows import json_line, line_writer


def training_files(place: Path) -> list[Path]:
    """The files of the data. Raises BadData if there are none, or one that cannot be read."""
    files = data_files(place)
    check_once(place, files)
    return files


def is_cut_as_it_is(place: Path) -> bool:
    """Whether shards are cut from the file itself."""
    return not place.is_dir() and (
        place.suffix in ("", ".jsonl", ".parquet")
        or (not compression_of(place) and suffix_of(place) not in SUFFIXES)
    )


def write_lines(place: Path, files: Sequence[Path], folder: Path) -> Path:
    """Writes the rows of the files as JSON lines in `folder`, unless an earlier run did; returns that file.

    Raises BadData for a row that cannot be read, or written as JSON.
    """
    target = folder / f"{place.name.partition('.')[0] or 'rows'}.jsonl"
    if target.exists() and _begins(target).exists():
        return target
    count = 0
    begins: list[tuple[int, str]] = []
    with line_writer(target) as write:
        for path in files:
            begins.append((count, str(path)))
            start = count
            for number, row in file_rows(path, None):
                for _ in range(start + number - 1 - count):
                    write(b"\n")  # so that the row keeps its number
                write(json_line(path, number, row))
                count = start + number
        write_file(_begins(target), json.dumps(begins).encode())
    return target


def at_its_place(error: BadData, target: Path) -> BadData:
    """The error of a row of the written lines, with the row's own file and number."""
    if error.path is None or Path(error.path) != target or error.row is None:
        return error
    begins = json.loads(_begins(target).read_bytes())
    before, path = max((begin for begin in begins if begin[0] < error.row), key=lambda begin: begin[0])
    return BadData(message_of(error), path=path, row=error.row - before, field=error.field)


def _begins(target: Path) -> Path:
    return target.with_suffix(".begins.json")
