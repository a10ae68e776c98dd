"""Grades a JSONL file of gold and predicted answers, row by row, in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from mathloop.answers.extraction import extract_answer
from mathloop.answers.verification import DECIMAL_PLACES, verify
from mathloop.errors import BadData
from mathloop.lines import describe, parse_line

MOST_PLACES = 100
Kind = Literal["auto", "answer", "response"]
"""What predictions are: whole responses, answers alone, or either, told apart by their text."""


def grade_rows(lines: Iterable[bytes], path: str, kind: Kind = "auto") -> Iterator[dict[str, Any]]:
    """Yields each row of `{"gold", "pred"}` with `correct` and `reason` added; other fields are unchanged.

    A gold answer is a string or a number; a prediction may also be null for no answer. Rows may have the
    options `precision` (decimal places), `strict` (variables must have the same names) and
    `allow_set_relation_comp` (whether `1 < x` equals `(1, ∞)`). Blank lines are skipped. `kind`
    says what predictions are: "response" always extracts the answer, "answer" never does. Raises `BadData`
    naming `path`, the row and the field of the first broken row; the rows before it have been yielded.
    """
    empty = True
    for number, line in enumerate(lines, start=1):
        row = parse_line(path, number, line)
        if row is None:
            continue
        empty = False
        gold = _answer(row, "gold", path, number)
        prediction = "" if row.get("pred", "") is None else _answer(row, "pred", path, number)
        if kind == "response":
            prediction = extract_answer(prediction) or ""
        verdict = verify(
            gold,
            prediction,
            responses=kind != "answer",
            places=_places(row, path, number),
            strict=_switch(row, "strict", path, number),
            relations_as_sets=_switch(row, "allow_set_relation_comp", path, number),
        )
        yield {**row, "correct": verdict.correct, "reason": verdict.reason}
    if empty:
        message = 'no rows; expected one object per line, like {"gold": "1/2", "pred": "0.5"}'
        raise BadData(message, path=path)


def _answer(row: dict[str, Any], field: str, path: str, number: int) -> str:
    if field not in row:
        raise BadData(f"the field is missing; a row needs {field!r}", path=path, row=number, field=field)
    value = row[field]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        message = f"expected a string or a number, found {describe(value)}"
        raise BadData(message, path=path, row=number, field=field)
    return value if isinstance(value, str) else repr(value)


def _places(row: dict[str, Any], path: str, number: int) -> int:
    value = row.get("precision", DECIMAL_PLACES)
    if type(value) is not int or not 0 <= value <= MOST_PLACES:
        message = f"expected a whole number from 0 to {MOST_PLACES}, found {describe(value)}"
        raise BadData(message, path=path, row=number, field="precision")
    return value


def _switch(row: dict[str, Any], field: str, path: str, number: int) -> bool:
    value = row.get(field, True)
    if not isinstance(value, bool):
        message = f"expected true or false, found {describe(value)}"
        raise BadData(message, path=path, row=number, field=field)
    return value
