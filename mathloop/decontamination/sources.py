"""Reads questions out of benchmark and training rows, whatever their fields are called."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mathloop.decontamination.matching import Item
from mathloop.errors import BadData
from mathloop.lines import describe, is_blank
from mathloop.records.rows import numbered_rows

_STATEMENT = (("problem",), ("question",), ("Body", "Question"), ("text",))
"""Fields that make up a statement, first present wins; SVAMP splits it in two."""
COLUMNS = ("id", *(name for names in _STATEMENT for name in names), "solution", "answer")
"""All fields that are looked at."""
_SPLITS = ("test", "train", "dev", "validation", "val")


def read_items(paths: Sequence[Path]) -> Iterator[Item]:
    """Yields the questions of the benchmark files. Raises BadData where there are none or a row is broken."""
    if not paths:
        raise BadData("no benchmark given; name at least one file to check against")
    for path in paths:
        name = Path(os.path.realpath(path)).parent.name if path.stem in _SPLITS else path.stem
        empty = True
        for number, row in numbered_rows(path, COLUMNS):
            empty = False
            yield Item(name, statement(row, path, number))
        if empty:
            raise BadData("the benchmark is empty; expected one question a row", path=path)


def statement(row: dict[str, Any], path: Path, number: int) -> str:
    """The question of a row: its problem, question, Body and Question, or text."""
    names = next((names for names in _STATEMENT if all(name in row for name in names)), None)
    if names is None:
        raise BadData(
            "missing; a row needs problem, question, Body and Question, or text",
            path=path,
            row=number,
            field="problem",
        )
    for name in names:
        if not isinstance(row[name], str) or is_blank(row[name]):
            message = f"expected text that is not empty, found {describe(row[name])}"
            raise BadData(message, path=path, row=number, field=name)
    return " ".join(row[name] for name in names)


def solution(row: dict[str, Any], path: Path, number: int) -> str | None:
    """The row's worked solution: `solution`, or GSM8K's `answer` with its #### line."""
    given = row.get("solution")
    if given is not None and not isinstance(given, str):
        raise BadData(f"expected text, found {describe(given)}", path=path, row=number, field="solution")
    if given is None and isinstance(answer := row.get("answer"), str) and "####" in answer:
        return answer
    return given
