"""Reads problem files: JSONL or Parquet with a statement and an answer, including GSM8K's rows."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mathloop.answers import extract_answer, verify
from mathloop.errors import BadData
from mathloop.lines import describe, is_blank, shown
from mathloop.records import Problem
from mathloop.records.rows import numbered_rows

_TEXT = ("problem", "question")
_COLUMNS = (*_TEXT, "answer", "id", "family")


def read_problem_file(path: Path, broken: list[BadData] | None = None) -> Iterator[Problem]:
    """Yields a Problem for each row; broken rows are appended to `broken`, or the first one is raised.

    Raises:
        BadData: with file, row and field; or the file has no rows at all, or cannot be read.
    """
    keep = None if broken is None else broken.append
    seen = _Seen(path)
    number = 0
    for number, row in numbered_rows(path, _COLUMNS, keep):
        try:
            problem = _problem(row, path, number)
            seen.add(problem, number)
        except BadData as error:
            if keep is None:
                raise
            keep(error)
            continue
        yield problem
    if not number and not broken:
        raise BadData("no rows; expected one problem per line with `problem` and `answer`", path=path)


def load_problem_file(path: Path, rejects_share: float) -> tuple[list[Problem], list[BadData]]:
    """The problems that a round can use from a file, and the errors of its broken rows.

    Raises:
        BadData: more than `rejects_share` of the rows are broken (this is the first one), or fewer than two
            are not.
    """
    broken: list[BadData] = []
    problems = list(read_problem_file(path, broken))
    if len(broken) > rejects_share * (len(problems) + len(broken)):
        raise broken[0]
    if len(problems) < 2:
        raise BadData("expected at least two rows: one to train on and one for the benchmark", path=path)
    return problems, broken


class _Seen:
    """The rows of a file so far: ids are unique, and equal statements have equal answers."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._ids: dict[str, int] = {}
        self._answers: dict[bytes, tuple[int, str]] = {}
        """Hash of a statement → row, answer."""

    def add(self, problem: Problem, number: int) -> None:
        """Adds the next row's problem; raises BadData if it contradicts an earlier row."""
        if problem.id in self._ids:
            message = f"{shown(problem.id)} is the id of row {self._ids[problem.id]} too; "
            message += "give each row its own, or none"
            raise BadData(message, path=self._path, row=number, field="id")
        answer = problem.answer or ""
        statement = hashlib.blake2b(problem.problem.encode(), digest_size=16).digest()
        first, known = self._answers.setdefault(statement, (number, answer))
        if answer != known and not verify(known, answer).correct:
            message = f"{shown(answer)}, but row {first} gives the same problem the answer {shown(known)}"
            raise BadData(f"{message}; keep the right row", path=self._path, row=number, field="answer")
        self._ids[problem.id] = number


def _problem(row: dict[str, Any], path: Path, number: int) -> Problem:
    name = next((name for name in _TEXT if name in row), None)
    if name is None:
        raise BadData("missing; add the problem's statement", path=path, row=number, field="problem")
    statement = _readable(row, name, path, number, numbers=False)
    if "answer" not in row:
        raise BadData("missing; add the gold answer", path=path, row=number, field="answer")
    text = _readable(row, "answer", path, number)
    answer = extract_answer(text) if "####" in text else text.strip()
    if not answer:
        raise BadData("no final answer after ####", path=path, row=number, field="answer")
    chinese = sum("\u4e00" <= c <= "\u9fff" for c in statement) > 0.2 * len(statement)
    named = row.get("id") not in (None, "")
    return Problem(
        id=_readable(row, "id", path, number) if named else f"{path.stem}-{number}",
        problem=statement.strip(),
        answer=answer,
        source=path.stem,
        language="zh" if chinese else "en",
        family=str(row.get("family", "") or ""),
        solution=text if "####" in text else None,
    )


def _readable(row: dict[str, Any], field: str, path: Path, number: int, *, numbers: bool = True) -> str:
    """A field as visible text; raises BadData for anything but text or, if allowed, a number."""
    value, text = row[field], str(row[field])
    usable = isinstance(value, (str, int, float) if numbers else str) and not isinstance(value, bool)
    if (
        not usable
        or is_blank(text)
        or "\0" in text
        or (isinstance(value, float) and not math.isfinite(value))
    ):
        expected = "a text or a number" if numbers else "a text"
        message = f"expected {expected} that is not empty, found {describe(value)}"
        raise BadData(message, path=path, row=number, field=field)
    return text
