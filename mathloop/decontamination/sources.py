"""Reads questions, solutions and answers from benchmark and training rows with various field names."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mathloop.decontamination.batches import Passage
from mathloop.decontamination.items import Item
from mathloop.errors import BadData
from mathloop.lines import describe, is_blank
from mathloop.records import HELD_OUT
from mathloop.records.rows import numbered_rows

_STATEMENT = (("problem",), ("question",), ("Body", "Question"), ("text",))
"""Fields that make up a statement, the first present ones are used; SVAMP has two."""
_ANSWERS = ("answer", "Answer", "final_answer")
_CHOICES = ("choices", "options")
"""If one of these is present, the answer is the number or letter of a choice."""
COLUMNS = (
    *(name for names in _STATEMENT for name in names),
    *_ANSWERS,
    *_CHOICES,
    "id",
    "solution",
    "label",
    "source",
)
"""All fields that are read."""
_SPLITS = ("test", "train", "dev", "validation", "val")
_BOXED = "\\boxed{"


def read_items(paths: Sequence[Path]) -> Iterator[Item]:
    """Yields the questions of the benchmark files. Raises BadData where there are none or a row is broken."""
    if not paths:
        raise BadData("no benchmark; expected at least one file to check against")
    for path in paths:
        name = benchmark_name(path)
        empty = True
        for number, row in numbered_rows(path, COLUMNS):
            empty = False
            yield Item(_named(row) or name, statement(row, path, number), answer(row))
        if empty:
            raise BadData("the benchmark is empty; expected one question per row", path=path)


def _named(row: dict[str, Any]) -> str:
    """The benchmark of a round's row, whose id begins with it or which is held out; empty for other rows."""
    source, name = row.get("source"), row.get("id")
    if not isinstance(source, str) or not isinstance(name, str):
        return ""
    return source if source == HELD_OUT or (source and name.startswith(f"{source}/")) else ""


def benchmark_name(path: Path) -> str:
    """The file's name, or its folder's where the file is named after a split."""
    return Path(os.path.realpath(path)).parent.name if path.stem in _SPLITS else path.stem


def passages(row: dict[str, Any], path: Path, number: int) -> list[Passage]:
    """The passages of a training row: its statement, and its solution if it has one."""
    question = Passage(statement(row, path, number), True, answer(row))
    worked = solution(row, path, number)
    return [question, Passage(worked, False)] if worked else [question]


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
    value = row.get("solution")
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n".join(value)  # OlympiadBench has several
    if value is not None and not isinstance(value, str):
        raise BadData(f"expected text, found {describe(value)}", path=path, row=number, field="solution")
    if value is None and isinstance(worked := row.get("answer"), str) and "####" in worked:
        return worked
    return value


def answer(row: dict[str, Any]) -> str | None:
    """The row's final answer, from an answer field, after ####, or in a box; None if unknown."""
    found = next((row[name] for name in _ANSWERS if row.get(name) not in (None, "", [])), None)
    choices = next(
        (row[name] for name in _CHOICES if row.get(name) and isinstance(row[name], list | dict)), None
    )
    if choices is not None:
        return _choice(choices, found if row.get("label") is None else row["label"])
    if isinstance(found, list):
        found = found[0] if len(found) == 1 else None
    if found is None and isinstance(worked := row.get("solution"), str) and _BOXED in worked:
        found = _boxed(worked)
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return None
    return str(found).rpartition("####")[2].strip() or None


def _choice(choices: list[Any] | dict[str, Any], label: Any) -> str | None:
    if isinstance(choices, dict):
        found = choices.get(label) if isinstance(label, str) else None
    else:
        place = "ABCDEFGHIJ".find(label) if isinstance(label, str) and len(label) == 1 else label
        in_range = isinstance(place, int) and 0 <= place < len(choices)
        found = choices[place] if in_range else None
    return found if isinstance(found, str) else None


def _boxed(worked: str) -> str | None:
    """The content of the last \\boxed{…}."""
    start = worked.rindex(_BOXED) + len(_BOXED)
    depth = 1
    for place in range(start, len(worked)):
        depth += {"{": 1, "}": -1}.get(worked[place], 0)
        if depth == 0:
            return worked[start:place]
    return None
