"""A published row becomes a problem, or the reason why it cannot be one."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from mathloop.answers import verify
from mathloop.errors import BadData
from mathloop.lines import describe, is_blank
from mathloop.problems.sources import choices as multiple_choice
from mathloop.problems.sources.layouts import Layout
from mathloop.problems.sources.places import (
    HAN,
    Changed,
    Row,
    final_answer,
    is_worked,
    listed,
    states_answer,
    value_at,
    values_at,
)
from mathloop.records import Language, Problem

_ENGLISH = re.compile(r"(?<![\\A-Za-z])[A-Za-z]{3,}")
_DIGITS = re.compile(r"\d+(?:\.\d+)?")
_NO_ANSWER = {"notfound", "not found", "n/a", "unknown", "nan", "null"}
_MISSING = "None"
"""Python's way to write that there is nothing; "none" is the answer of some problems."""
_FRACTIONAL = (float, Decimal)
_SCALARS = (str, int, float, Decimal)
_SHORT = 6
"""Words of an answer that is no worked solution, such as "The answer is 12"."""
_INLINE = re.compile(r"[A-H]{1,8}")
_GROUPED = re.compile(r"[-+−]?\$?\d{1,3}(?:,\d{3})+(?:\.\d+)?")
"""1,000: its comma would divide a list."""


class LeftOut(Exception):
    """A row that is in order and still no problem with an answer: a proof, or one that nobody solved."""


class Place(NamedTuple):
    """Where a row is, for messages."""

    path: Path
    row: int

    def bad(self, message: str, field: str | None) -> BadData:
        """The error about this row."""
        return BadData(message, path=self.path, row=self.row, field=field)


class Parsed(NamedTuple):
    """The parts of a row that decontamination looks at too."""

    question: str
    """The statement, without choices that are in a field of their own."""
    choices: tuple[str, ...]
    language: Language
    labels: tuple[str, ...] = ()
    """What the row calls its choices, if it does."""


def parse_statement(row: Row, layout: Layout, place: Place) -> Parsed:
    """The question of a row with its choices; raises BadData."""
    field = _name(layout.problem, row) or "problem"
    found = next(values_at(row, layout.problem), row.get(field))
    if found is None and field not in row:
        raise place.bad(f"missing; add the problem's statement{_fields_of(row)}", "problem")
    question = _text(found, field, place, numbers=False).strip()
    options = next(values_at(row, layout.choices), None)
    try:
        listed = () if options is None else multiple_choice.read_choices(options)
        labels = multiple_choice.read_labels(options) if listed else ()
    except ValueError as error:
        raise place.bad(f"{error}, found {describe(options)}", _name(layout.choices, row)) from None
    language = _language(row, layout, question)
    # A table that a stage wrote shows them already.
    for written in ("en", "zh") if listed else ():
        question = question.removesuffix(multiple_choice.shown("", listed, written))
    return Parsed(question, listed, language, labels)


def parse_row(
    row: Row,
    layout: Layout,
    place: Place,
    *,
    name: str,
    default_id: str,
    prose: bool = False,
    first: int = 0,
) -> Problem:
    """The problem of a row.

    Args:
        name: the source, if the row does not name one.
        default_id: its id, if the row has none.
        prose: keep an answer that is a worked solution, which no response will ever be equal to.
        first: the number of choice A, 0 or 1, where the answer is the right choice's number.

    Raises:
        BadData: a part is missing or of the wrong kind.
        LeftOut: the row has no final answer, and says so.
    """
    statement = parse_statement(row, layout, place)
    _check_solved(row)
    solution = _solution(next(values_at(row, layout.solution), None))
    gold, choices = _gold(row, layout, statement, place, first)
    shown = statement.question
    if statement.choices:
        shown = multiple_choice.shown(shown, statement.choices, statement.language)
    worked = next((text for text in values_at(row, layout.answer) if isinstance(text, str)), "")
    unmarked = not choices and is_worked(gold)
    sentence = not choices and states_answer(gold)
    if (unmarked or sentence) and (stated := final_answer(gold)):
        gold, solution = stated, solution or (worked if worked.count(" ") > _SHORT else None)
    elif unmarked and not prose:
        raise LeftOut(
            "its answer is a worked solution that marks no final answer (####, \\boxed or 'the answer is'); "
            "name the column of the final answer in problems.fields"
        )
    return Problem(
        id=_id(row, layout, place, default_id),
        problem=shown,
        answer=gold,
        source=_label(values_at(row, layout.source)) or name,
        language=statement.language,
        family=_label(values_at(row, layout.subject)),
        difficulty=next(filter(None, map(_level, values_at(row, layout.level))), 0),
        solution=solution or (worked if "####" in worked else None),
        choices=choices,
    )


def gold_text(row: Row, layout: Layout, statement: Parsed, first: int = 0) -> str | None:
    """The final answer of a row for comparisons: of multiple choice the right text; None if unknown.

    `first` is as in `parse_row`.
    """
    try:
        gold, choices = _gold(row, layout, statement, Place(Path(), 0), first)
    except (BadData, LeftOut):
        return None
    if not choices:
        return gold
    index = multiple_choice.LETTERS.find(gold) if len(gold) == 1 else -1
    return choices[index] if index >= 0 else None


def _gold(
    row: Row, layout: Layout, statement: Parsed, place: Place, first: int = 0
) -> tuple[str, tuple[str, ...]]:
    """The gold answer, and the choices, those that the statement lists itself included."""
    field = _name(layout.answer, row)
    found = next(values_at(row, layout.answer), None)
    if found is None:
        if field is not None and (field in row or "." in field):
            found = value_at(row, field)
        elif any(isinstance(text, str) for text in values_at(row, layout.solution)):
            raise LeftOut("its solution states no final answer")
        else:
            raise place.bad(f"missing; add the gold answer{_fields_of(row)}", "answer")
    if statement.choices:
        try:
            letters = multiple_choice.right_letters(found, statement.choices, statement.labels, first)
        except ValueError as error:
            raise place.bad(str(error), field) from None
        if letters is None:
            message = f"{describe(found)} is none of the {len(statement.choices)} choices"
            raise place.bad(f"{message}; expected a letter, a number from {first} or a choice", field)
        return letters, statement.choices
    if isinstance(found, str) and found[:1] == "[":
        found = listed(found) or found
    if isinstance(found, list) and found and all(isinstance(each, str | int | float) for each in found):
        found = _one_gold([_plain(each).strip() for each in found])
    text = _plain(_text(found, field, place, raw=True))
    if text.strip().lower() in ("proof", "<proof>"):
        raise LeftOut("a proof: there is no final answer to compare")
    if text.strip().lower() in _NO_ANSWER or text.strip() == _MISSING:
        raise LeftOut(f"its answer is {text.strip()!r}")
    worked = "####" in text or "\\boxed" in text
    gold = (final_answer(text) if worked else text.strip()) or ""
    if not gold:
        raise place.bad("no final answer after ####" if "####" in text else "no final answer", field)
    inline = multiple_choice.inline_choices(statement.question) if _INLINE.fullmatch(gold) else ()
    return gold, inline if len(inline) > multiple_choice.LETTERS.find(gold[-1]) else ()


def _one_gold(answers: list[str]) -> str:
    """Several answers as one: all are asked for, in any order; forms of one value are that value once."""
    if all(map(_INLINE.fullmatch, answers)):
        return "".join(answers)
    first, *others = answers
    if all(_same(first, other) for other in others):
        return first
    # One that is written twice stays: it may be the answer of two parts.
    kept = [
        answer
        for at, answer in enumerate(answers)
        if not any(answer != other and _same(other, answer) for other in answers[:at])
    ]
    return ", ".join(answer.replace(",", "") if _GROUPED.fullmatch(answer) else answer for answer in kept)


def _same(one: str, other: str) -> bool:
    return verify(one, other).correct and verify(other, one).correct


def has_several(row: Row, layout: Layout) -> bool:
    """Whether the gold answer of a row is a list of several."""
    found = next(values_at(row, _name(layout.answer, row) or "answer"), None)
    if isinstance(found, str) and found[:1] == "[":
        found = listed(found)
    return isinstance(found, list) and len(found) > 1


def _check_solved(row: Row) -> None:
    if str(row.get("question_type")).lower() in ("proof", "theorem proof"):
        raise LeftOut("a proof: there is no final answer to compare")
    for field in ("problem_is_valid", "solution_is_valid"):
        said = row.get(field)
        if isinstance(said, str) and said.strip().lower() not in ("yes", ""):
            raise LeftOut(f"{field} is {said!r}")


def _id(row: Row, layout: Layout, place: Place, default: str) -> str:
    found = next(values_at(row, layout.id), None)
    return default if found is None else str(_text(found, _name(layout.id, row), place))


def _solution(value: Any) -> str | None:
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        value = "\n".join(value)  # OlympiadBench has several
    return value if isinstance(value, str) and not is_blank(value) else None


def _language(row: Row, layout: Layout, question: str) -> Language:
    named = next(values_at(row, layout.language), None)
    if isinstance(named, str):
        short = named.strip().lower()[:2]
        if short in ("en", "zh", "ch", "cn"):
            return "en" if short == "en" else "zh"
    return "zh" if len(HAN.findall(question)) > len(_ENGLISH.findall(question)) else "en"


def _level(value: Any) -> int:
    """A level as a whole number: "Level 3", 3, 5.5 (6); 0 if it is none."""
    if isinstance(value, str):
        digits = _DIGITS.search(value)
        value = float(digits[0]) if digits else 0
    usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return min(int(value + 0.5), 1_000_000) if usable and value > 0 else 0


def _label(values: Any) -> str:
    """A group's name; of "Mathematics -> Algebra -> …" the part below mathematics."""
    for value in values:
        text = value[0] if isinstance(value, list) and value else value
        if isinstance(text, str) and text.strip():
            parts = [part.strip() for part in text.split("->")]
            return parts[1] if len(parts) > 1 else parts[0]
        if isinstance(text, int) and not isinstance(text, bool):
            return str(text)
    return ""


def _plain(value: Any) -> str:
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _text(value: Any, field: str | None, place: Place, *, numbers: bool = True, raw: bool = False) -> Any:
    """A value as visible text; raises BadData for anything but text or, if allowed, a number."""
    usable = isinstance(value, _SCALARS if numbers else str) and not isinstance(value, bool)
    text = str(value)
    finite = not isinstance(value, _FRACTIONAL) or math.isfinite(value)
    if not usable or not finite or is_blank(text) or "\0" in text:
        expected = "text or a number" if numbers else "text"
        raise place.bad(f"expected {expected} that is not empty, found {describe(value)}", field)
    return value if raw else text


def _name(places: Any, row: Row) -> str | None:
    """The column that a part comes from, for a message."""
    each = places if isinstance(places, tuple) else (places,)
    named = (place.column if isinstance(place, Changed) else place for place in each)
    return next((name for name in named if isinstance(name, str) and name.partition(".")[0] in row), None)


def _fields_of(row: Row) -> str:
    names = ", ".join(map(str, row))
    found = names if len(names) <= 200 else f"{names[:197]}..."
    return (
        f"; found the fields {found}: name the right one with --set problems.fields={{problem: …, answer: …}}"
    )
