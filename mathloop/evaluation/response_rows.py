"""The rows of saved responses: which column holds what, and the responses of a row."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from mathloop.answers import extract_answer
from mathloop.errors import BadData
from mathloop.evaluation.response_fields import SAVED, Fields
from mathloop.evaluation.response_layouts import ResponseLayout, recognize, samples_of
from mathloop.evaluation.saved import read_plan, response_files
from mathloop.lines import describe
from mathloop.problems.sources.files import column_names, file_rows
from mathloop.problems.sources.places import outer_columns, value_at
from mathloop.records import Language, Mode, Problem, Response

Row = dict[str, Any]
AT = "\0"
"""Between a model's label and its place, until all places are read."""
_VERDICTS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


class Asked(NamedTuple):
    """Whose responses a row holds: the model with its place, and to what."""

    problem: Problem
    model: str
    mode: Mode


class SavedRow(NamedTuple):
    """A row of saved responses: where it is, what it holds, and the responses in it."""

    path: Path
    number: int
    row: Row
    asked: Asked
    responses: list[Response]
    """Without their texts. A row of lists holds several, or none."""
    layout: str = ""
    """Name of the layout in which another program wrote it."""


def saved_rows(place: Path, fields: Fields = SAVED, also: Sequence[str] = ()) -> Iterator[SavedRow]:
    """Yields the rows at a place, an evaluation's folder or files in any known format, as a stream.

    Args:
        also: further columns to read, where they are there.

    Raises:
        BadData: there is none, or a row cannot be read (file, row and field).
    """
    columns = [name for name in dict(fields).values() if name] + [*also]
    counts: Counter[tuple[str, str, str]] = Counter()
    before, others = 0, fields is SAVED and read_plan(place) is None
    for path in response_files(place):
        layout = layout_of(path) if others else None
        read = outer_columns(columns) if layout is None else layout.columns()
        number, first = 0, None
        for number, found in file_rows(path, read):
            if layout is not None and layout.once:
                first = found.get(layout.once) if number == 1 else first
                if found.get(layout.once) != first:
                    continue
            try:
                row = found if layout is None else layout.as_saved(found, path)
                asked = _asked_of(row, fields, place, before + number)
                responses = list(_responses_of(row, fields, asked, counts))
                yield SavedRow(path, number, row, asked, responses, layout.name if layout else "")
            except BadData as error:
                raise in_row(error if layout is None else layout.blamed(error), path, number) from None
        before += number


def layout_of(path: Path) -> ResponseLayout | None:
    """The layout in which another program wrote this file; None if it has our columns or unknown ones."""
    columns = column_names(path) or next((list(row) for _, row in file_rows(path, None)), [])
    return None if SAVED.response in columns else recognize(columns)


def in_row(error: BadData, path: Path, number: int) -> BadData:
    """The error with the file and the row that it is about, if it does not name them."""
    if error.row is not None:
        return error
    return BadData(str(error).partition(": ")[2], path=path, row=number, field=error.field)


def _asked_of(row: Row, fields: Fields, place: Path, number: int) -> Asked:
    problem = _problem(row, fields, number)
    model = _text(row, fields.model) or place.resolve().name.partition(".")[0]
    mode = _text(row, fields.mode) or "cot"
    if mode not in ("cot", "tir"):
        raise BadData(f"expected cot or tir, found {mode!r}", field=fields.mode)
    return Asked(problem, f"{model}{AT}{place}", mode)  # type: ignore[arg-type]  # checked above


def _responses_of(
    row: Row, fields: Fields, asked: Asked, counts: Counter[tuple[str, str, str]]
) -> Iterator[Response]:
    """The responses of one row."""
    problem, model, mode = asked
    main = value_at(row, fields.response or fields.prediction)
    nested, count = isinstance(main, list), len(samples_of(main))
    texts, rewards, labels, predictions = (
        _samples(row, name, nested, count)
        for name in (fields.response, fields.reward, fields.label, fields.prediction)
    )
    key = model, mode, problem.id
    for text, reward, label, prediction in zip(texts, rewards, labels, predictions, strict=True):
        written = _string(text, fields.response) or ""
        sample = value_at(row, fields.sample) if fields.sample and not nested else None
        if sample is None:
            sample = counts[key]
            counts[key] += 1
        elif isinstance(sample, bool) or not isinstance(sample, int) or sample < -1:
            message = f"expected a whole number from 0, or -1 for greedy, found {describe(sample)}"
            raise BadData(message, field=fields.sample)
        yield Response(
            problem_id=problem.id,
            sample=sample,
            mode=mode,
            text="",
            answer=_string(prediction, fields.prediction)
            if fields.prediction
            else extract_answer(written, problem.language),
            correct=_verdict(label, fields.label),
            reward=_number(reward, fields.reward),
            model=model,
        )


def _problem(row: Row, fields: Fields, number: int) -> Problem:
    if fields.response and not outer_columns([fields.response]) & row.keys():
        listed = ", ".join(map(str, row))[:300]
        raise BadData(
            f"missing; the row has {listed}: name the columns, such as --fields response=TEXT,answer=GOLD",
            field=fields.response,
        )
    statement = _text(row, fields.problem)
    benchmark = _text(row, fields.benchmark)
    name = _text(row, fields.id)
    gold = _string(value_at(row, fields.answer), fields.answer) if fields.answer else None
    if not name:
        # With the gold answer: public sets have one statement with several (CARP, CollegeMath).
        both = f"{statement}\0{gold}".encode("utf-8", "surrogatepass")
        name = hashlib.sha256(both).hexdigest()[:16] if statement else f"row-{number}"
    if benchmark and not name.startswith(f"{benchmark}/"):
        name = f"{benchmark}/{name}"
    return Problem(
        id=name,
        problem="",
        answer=gold if gold is None or gold.strip() else None,
        source=benchmark,
        language=_language(row, fields, statement),
        family=_text(row, fields.family),
        difficulty=_level(_text(row, fields.level)),
        parent=_text(row, fields.parent) or None,
    )


def _language(row: Row, fields: Fields, statement: str) -> Language:
    named = _text(row, fields.language)
    if named in ("en", "zh"):
        return "zh" if named == "zh" else "en"
    if named:
        raise BadData(f"expected en or zh, found {named!r}", field=fields.language)
    sample = statement or str(value_at(row, fields.response) or "")[:2_000]
    return "zh" if sum("\u4e00" <= letter <= "\u9fff" for letter in sample) > 0.2 * len(sample) else "en"


def _level(text: str) -> int:
    """3 for `3` and `Level 3`; 0 where there is no number."""
    digits = text[len(text.rstrip("0123456789")) :]
    return int(digits) if 0 < len(digits) < 10 else 0


def _samples(row: Row, name: str, nested: bool, count: int) -> Sequence[Any]:
    value = value_at(row, name) if name else None
    if not nested:
        return [value]
    if value is None:
        return [None] * count
    found = samples_of(value)
    if len(found) != count or (count > 1 and not isinstance(value, list)):
        raise BadData(f"expected a list of {count}, one per response, found {describe(value)}", field=name)
    return found


def _text(row: Row, name: str) -> str:
    return (_string(value_at(row, name), name) or "") if name else ""


def _string(value: Any, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadData(f"expected a text, found {describe(value)}", field=name)
    return str(value)


def _number(value: Any, name: str) -> float | None:
    if isinstance(value, list) and len(value) == 1:  # a reward head's output, [1]
        value = value[0]
    if value in (None, ""):
        return None
    if isinstance(value, str):  # CSV has texts alone
        with suppress(ValueError):
            value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadData(f"expected a number, found {describe(value)}", field=name)
    return float(value) if abs(value) < 1e300 or isinstance(value, float) else math.inf


def _verdict(value: Any, name: str) -> bool | None:
    if value in (None, ""):
        return None
    word = str(value).lower()
    if word in _VERDICTS and not isinstance(value, list | dict):
        return _VERDICTS[word]
    raise BadData(f"expected true, false, 1, 0 or null, found {describe(value)}", field=name)
