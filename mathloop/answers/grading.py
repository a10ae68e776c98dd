"""Grades a JSONL file of gold and predicted answers, row by row, in order."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from mathloop.answers.verification import DECIMAL_PLACES, verify
from mathloop.errors import BadData


def grade_rows(lines: Iterable[bytes | str], path: str) -> Iterator[dict[str, Any]]:
    """Yields each row of `{"gold", "pred"}` with `correct` and `reason` added; other fields stay as they are.

    A gold answer is a string or a number; a prediction may also be null, which is no answer. Rows may carry
    the options `precision` (decimal places), `strict` (variables keep their names) and
    `allow_set_relation_comp` (whether `1 < x` may be `(1, ∞)`). Blank lines are skipped. Raises `BadData`
    naming `path`, the row and the field of the first broken row; rows before it have been yielded.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row = _parse(line, path, number)
        gold = _answer(row, "gold", path, number)
        prediction = "" if row.get("pred", "") is None else _answer(row, "pred", path, number)
        verdict = verify(
            gold,
            prediction,
            places=_option(row, "precision", DECIMAL_PLACES, path, number),
            strict=_option(row, "strict", True, path, number),
            relations_as_sets=_option(row, "allow_set_relation_comp", True, path, number),
        )
        yield {**row, "correct": verdict.correct, "reason": verdict.reason}


def _parse(line: bytes | str, path: str, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise BadData(
            f"not valid JSON ({error}); each line must be one object", path=path, row=number
        ) from None
    if not isinstance(row, dict):
        raise BadData('expected an object like {"gold": "1/2", "pred": "0.5"}', path=path, row=number)
    return row


def _answer(row: dict[str, Any], field: str, path: str, number: int) -> str:
    if field not in row:
        raise BadData(f"the field is missing; a row needs {field!r}", path=path, row=number, field=field)
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        kind = type(value).__name__
        raise BadData(f"expected a string or a number, found {kind}", path=path, row=number, field=field)
    return value if isinstance(value, str) else repr(value)


def _option(row: dict[str, Any], field: str, default: Any, path: str, number: int) -> Any:
    value = row.get(field, default)
    if type(value) is not type(default):
        expected = "true or false" if isinstance(default, bool) else "a whole number"
        raise BadData(f"expected {expected}, found {json.dumps(value)}", path=path, row=number, field=field)
    return value
