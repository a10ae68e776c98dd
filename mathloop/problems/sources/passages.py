"""All texts of a row that a benchmark's question may be in, for decontamination."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from mathloop.errors import BadData
from mathloop.files import reading
from mathloop.lines import describe, is_blank
from mathloop.problems.sources.files import file_rows
from mathloop.problems.sources.layouts import COLUMNS as _OF_LAYOUTS
from mathloop.problems.sources.layouts import Layout, narrowed, recognize
from mathloop.problems.sources.numbering import has_number, numbering
from mathloop.problems.sources.parsing import Parsed, Place, gold_text, parse_statement
from mathloop.problems.sources.places import (
    MODEL,
    USER,
    Row,
    in_a_row,
    instruction,
    prompt,
    turns,
    unwrapped,
)
from mathloop.problems.sources.reader import Source

STATEMENTS = ("original_question", "query")
"""Further columns with a question, besides the layout's."""
CONVERSATIONS = ("messages", "conversations", "prompt", "completion", "chosen", "rejected")
"""Columns with turns; a user's are questions."""
WORKED = (
    "solution", "generated_solution", "generations", "generation", "response", "responses", "output",
    "completion", "chosen", "rejected", "text", "r1_solution_1", "r1_solution_2", "r1_solution_3",
    "rationale", "analysis", "Solution", "cot", "steps", "reasoning", "explanation", "gt_cot",
)  # fmt: skip
"""Columns with worked solutions, or with anything: a text, or a list of texts."""
COLUMNS = tuple(sorted({*_OF_LAYOUTS, *STATEMENTS, *CONVERSATIONS, *WORKED}))
"""All columns that are read."""

_QUESTION = ("problem", "question", in_a_row("Body", "Question"), instruction, "query", prompt, "text")
_ANY = Layout("", (), problem=_QUESTION, answer=("answer", "Answer", "final_answer", "expected_answer"))
_EXPECTED = "a row needs problem, question, Body and Question, or text, or a known layout"


class Texts(NamedTuple):
    """The texts of a row, each once."""

    statements: list[str]
    """Its question first, without choices and without a prompt around it."""
    worked: list[str]
    """Solutions, responses and other texts."""
    answer: str | None
    """Its final answer; of multiple choice the text of the right choice."""


class _Known(NamedTuple):
    """What rows with the same columns have in common."""

    layout: Layout
    statements: tuple[str, ...]
    conversations: tuple[str, ...]
    worked: tuple[str, ...]
    """Of the further columns, those that are there."""


_KNOWN: dict[tuple[str, ...], _Known] = {}
"""By columns; rows of a file have few different ones."""
_MOST_KNOWN = 1000


def texts_of(row: Row, place: Place) -> Texts:
    """The texts of a row; raises BadData if it has no question, or a solution that is no text."""
    layout, *columns = _known(row)
    try:
        statement = parse_statement(row, layout, place)
    except BadData as error:
        if error.field in row:
            raise
        raise place.bad(f"missing; {_EXPECTED}", "problem") from None
    statements, worked = {unwrapped(statement.question): None}, dict[str, None]()
    for column in columns[0]:
        _add(statements, row.get(column))
    for column in columns[1]:
        for text in turns(row.get(column), USER):
            _add(statements, unwrapped(text))
        for text in turns(row.get(column), MODEL):
            _add(worked, text)
    for column in columns[2]:
        value = row.get(column)
        if column == "solution" and value is not None and not _is_text(value):
            raise place.bad(f"expected text, found {describe(value)}", column)
        for text in value if isinstance(value, list) and column != "solution" else [_whole(value)]:
            _add(worked, text)
    answer = row.get("answer")
    if isinstance(answer, str) and "####" in answer:
        _add(worked, answer)
    others = [text for text in worked if text not in statements]
    return Texts([*statements], others, _gold(row, layout, statement, place))


def text_fields(source: Source) -> list[str]:
    """The columns of a data set's first row that decontamination looks at; the question's as "statement"."""
    row = next((row for path in source.files for _, row in file_rows(path, {*COLUMNS}, lambda _: None)), {})
    columns = dict.fromkeys((*STATEMENTS, *CONVERSATIONS, *WORKED))
    others = [name for name in columns if _has_text(row.get(name))]
    others += ["answer"] if "####" in str(row.get("answer")) else []
    return ["statement", *others] if row else []


def _gold(row: Row, layout: Layout, statement: Parsed, place: Place) -> str | None:
    """The final answer for comparisons; None where it is a number of which nothing tells the choice."""
    if not (statement.choices and not statement.labels and has_number(row, layout)):
        return gold_text(row, layout, statement)
    first = _first_choice(place.path)
    possible = {gold_text(row, layout, statement, each) for each in ((0, 1) if first is None else (first,))}
    possible.discard(None)
    return possible.pop() if len(possible) == 1 else None


def _first_choice(path: Path) -> int | None:
    """The number of choice A in the answers of a file, 0 or 1; None if they do not tell."""
    with reading(path):
        stat = path.stat()
    return _told_first(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _told_first(path: Path, size: int, time: int) -> int | None:
    rows = file_rows(path, {*COLUMNS}, lambda _: None)
    try:
        found = numbering((row, _known(row).layout) for _, row in rows)
    except BadData:  # whoever reads the file raises it too, and this is asked for every row
        return None
    return found.first if found.told else None


def _known(row: Row) -> _Known:
    columns = tuple(row)
    found = _KNOWN.get(columns)
    if found is None:
        if len(_KNOWN) >= _MOST_KNOWN:
            _KNOWN.clear()
        layout = narrowed(recognize(row) or _ANY, row.keys())
        present = (tuple(filter(row.__contains__, group)) for group in (STATEMENTS, CONVERSATIONS, WORKED))
        found = _KNOWN[columns] = _Known(layout, *present)
    return found


def _add(texts: dict[str, None], value: Any) -> None:
    if isinstance(value, str) and not is_blank(value):
        texts[value] = None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(each, str) for each in value)
    )


def _whole(value: Any) -> Any:
    return "\n".join(value) if isinstance(value, list) and _is_text(value) else value


def _has_text(value: Any) -> bool:
    return any(True for _ in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str) and value.strip():
        yield value
    for each in value if isinstance(value, list) else ():
        yield from _texts(each) if isinstance(each, str) else turns([each], (*USER, *MODEL))
