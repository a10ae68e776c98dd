"""Reads problems as people have them: JSONL or Parquet with question and answer, also GSM8K's rows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mathloop.answers import extract_answer
from mathloop.errors import BadData
from mathloop.records import Problem, read_rows

_TEXT = ("problem", "question")


def read_problem_file(path: Path) -> Iterator[Problem]:
    """Yields a Problem for each row. Raises BadData with file, row and field at the first broken row."""
    number = 0
    for number, row in enumerate(read_rows(path), start=1):
        yield _problem(row, path, number)
    if not number:
        raise BadData("no rows; expected one problem a line with `problem` and `answer`", path=path)


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
        raise BadData("expected a text or a number", path=path, row=number, field="answer")
    text = str(given)
    answer = extract_answer(text) if "####" in text else text.strip()
    if not answer:
        raise BadData("no final answer after ####", path=path, row=number, field="answer")
    chinese = sum("\u4e00" <= c <= "\u9fff" for c in statement) > 0.2 * len(statement)
    return Problem(
        id=str(row.get("id", f"{path.stem}-{number}")),
        problem=statement.strip(),
        answer=answer,
        source=path.stem,
        language="zh" if chinese else "en",
        family=str(row.get("family", "") or ""),
        solution=text if "####" in text else None,
    )
