"""Reads problems as people have them: JSONL or Parquet with question and answer, also GSM8K's rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mathloop.answers import extract_answer
from mathloop.errors import BadData
from mathloop.records import Problem
from mathloop.records.rows import describe, numbered_rows

_TEXT = ("problem", "question")


def read_problem_file(path: Path, broken: list[BadData] | None = None) -> Iterator[Problem]:
    """Yields a Problem for each row; broken rows are appended to `broken`, or the first one is raised.

    Raises:
        BadData: with file, row and field; or the file has no rows at all, or cannot be read.
    """
    keep = None if broken is None else broken.append
    seen: dict[str, int] = {}
    number = 0
    for number, row in numbered_rows(path, broken=keep):
        try:
            problem = _problem(row, path, number)
            if problem.id in seen:
                raise BadData(
                    f"{problem.id!r} is the id of row {seen[problem.id]} too; give each row its own, or none",
                    path=path,
                    row=number,
                    field="id",
                )
        except BadData as error:
            if keep is None:
                raise
            keep(error)
            continue
        seen[problem.id] = number
        yield problem
    if not number and not broken:
        raise BadData("no rows; expected one problem a line with `problem` and `answer`", path=path)


def load_problem_file(path: Path, rejects_share: float) -> tuple[list[Problem], list[BadData]]:
    """The file's problems, and what is wrong with its broken rows.

    Raises:
        BadData: more than `rejects_share` of the rows are broken: the first one.
    """
    broken: list[BadData] = []
    problems = list(read_problem_file(path, broken))
    if len(broken) > rejects_share * (len(problems) + len(broken)):
        raise broken[0]
    return problems, broken


def _problem(row: dict[str, Any], path: Path, number: int) -> Problem:
    name = next((name for name in _TEXT if name in row), None)
    if name is None:
        raise BadData("missing; add the problem's statement", path=path, row=number, field="problem")
    statement = row[name]
    if not isinstance(statement, str) or not statement.strip():
        raise BadData("expected a text that is not empty", path=path, row=number, field=name)
    if "answer" not in row:
        raise BadData("missing; add the gold answer", path=path, row=number, field="answer")
    given = row["answer"]
    if not isinstance(given, (str, int, float)) or isinstance(given, bool) or not str(given).strip():
        raise BadData(
            f"expected a text or a number, found {describe(given)}", path=path, row=number, field="answer"
        )
    text = str(given)
    answer = extract_answer(text) if "####" in text else text.strip()
    if not answer:
        raise BadData("no final answer after ####", path=path, row=number, field="answer")
    chinese = sum("\u4e00" <= c <= "\u9fff" for c in statement) > 0.2 * len(statement)
    return Problem(
        id=f"{path.stem}-{number}" if row.get("id") in (None, "") else str(row["id"]),
        problem=statement.strip(),
        answer=answer,
        source=path.stem,
        language="zh" if chinese else "en",
        family=str(row.get("family", "") or ""),
        solution=text if "####" in text else None,
    )
