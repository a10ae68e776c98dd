"""Questions, solutions and answers of benchmark and training rows, in every layout that problems have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mathloop.decontamination.batches import Passage
from mathloop.decontamination.items import Item
from mathloop.errors import BadData
from mathloop.problems.sources.files import file_rows, name_of
from mathloop.problems.sources.parsing import Place
from mathloop.problems.sources.passages import COLUMNS, texts_of
from mathloop.problems.sources.reader import many
from mathloop.records import HELD_OUT

__all__ = ["COLUMNS", "benchmark_name", "passages", "read_items"]


def read_items(paths: Sequence[Path]) -> Iterator[Item]:
    """Yields the questions of the benchmark files.

    Raises:
        BadData: there are none, or a file is empty. At the end of a file with broken rows: one line about
            the first few of them.
    """
    if not paths:
        raise BadData("no benchmark; expected at least one file to check against")
    for path in paths:
        name = benchmark_name(path)
        rows = 0
        broken: list[BadData] = []
        for number, row in file_rows(path, COLUMNS, broken.append):
            rows += 1
            try:
                texts = texts_of(row, Place(path, number))
            except BadData as error:
                broken.append(error.bare())
                continue
            yield Item(_named(row) or name, texts.statements[0], texts.answer)
        if broken:
            raise many(broken)
        if not rows:
            raise BadData("the benchmark is empty; expected one question per row", path=path)


def _named(row: dict[str, Any]) -> str:
    """The benchmark of a round's row, whose id begins with it or which is held out; empty for other rows."""
    source, name = row.get("source"), row.get("id")
    if not isinstance(source, str) or not isinstance(name, str):
        return ""
    return source if source == HELD_OUT or (source and name.startswith(f"{source}/")) else ""


def benchmark_name(path: Path) -> str:
    """The file's name, or its folder's where the file is named after a split."""
    return name_of(path)


def passages(row: dict[str, Any], path: Path, number: int) -> list[Passage]:
    """The passages of a training row: its question and all other texts in it."""
    texts = texts_of(row, Place(path, number))
    first, *others = texts.statements
    return [
        Passage(first, True, texts.answer),
        *(Passage(text, True) for text in others),
        *(Passage(text, False) for text in texts.worked),
    ]
