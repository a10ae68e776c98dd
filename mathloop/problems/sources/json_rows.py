"""Rows of a JSON file: a list, an object with a list in it, or lines."""

from __future__ import annotations

import codecs
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from mathloop import lines
from mathloop.errors import BadData
from mathloop.lines import describe, parse_object, parse_value
from mathloop.records.rows import json_lines

Rows = Iterator[tuple[int, dict[str, Any]]]
Broken = Callable[[BadData], None] | None

_LISTS = ("example", "examples", "data", "rows", "problems", "questions")
"""Fields of a JSON object that may hold its rows."""
_BLOCK = 1 << 20


def json_rows(path: Path, file: Any, broken: Broken) -> Rows:
    """The rows of an open JSON file; a list streams, an object is read whole unless the file is lines."""
    head = file.read(_BLOCK).removeprefix(b"\xef\xbb\xbf")
    if head.lstrip()[:1] == b"[":
        yield from _listed(path, head, file, broken)
        return
    first, end, _ = head.partition(b"\n")
    if end and _is_object(first) and _rows_within(parse_object(first)) is None:
        file.seek(0)
        yield from json_lines(path, file, broken)
        return
    try:
        data = head + file.read(lines.LONGEST + 1)
        lines.check_length(path, None, len(data))
        whole = parse_object(data)
    except ValueError as error:
        where = f" at line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        message = f"not JSON ({error}{'' if where in str(error) else where})" if where else str(error)
        raise BadData(f"{message}; expected a list of objects, or lines", path=path) from None
    rows = _rows_within(whole)
    for number, row in enumerate([whole] if rows is None else rows, start=1):
        if (found := _as_row(path, number, row, broken)) is not None:
            yield number, found


def _is_object(line: bytes) -> bool:
    try:
        parse_object(line)
    except ValueError:
        return False
    return True


def _rows_within(whole: dict[str, Any]) -> list[Any] | None:
    found = [whole[name] for name in _LISTS if isinstance(whole.get(name), list)]
    return next((rows for rows in found if rows and isinstance(rows[0], dict)), None)


def _listed(path: Path, head: bytes, file: Any, broken: Broken) -> Rows:
    """The items of a JSON list, with little more than one in memory."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    number, separated = 0, True
    try:
        text, place, more = decoder.decode(head), 0, True
        place = text.index("[") + 1
        while True:
            place = _skip(text, place)
            if text[place : place + 1] == "]" and not (separated and number):
                break
            if not separated and place < len(text):
                if text[place] != ",":
                    message = "not JSON: no comma between two rows of the list"
                    raise BadData(f"{message}; write the file again", path=path, row=number + 1)
                separated, place = True, place + 1
                continue
            try:
                if place >= len(text):
                    raise ValueError("the list does not end")
                row, place = parse_value(text, place)
            except ValueError as error:
                lines.check_length(path, number + 1, len(text) - place)
                block = file.read(max(_BLOCK, len(text) - place))
                if not more:
                    raise BadData(
                        f"not JSON ({error}); is the file complete?", path=path, row=number + 1
                    ) from None
                more = bool(block)
                text, place = text[place:] + decoder.decode(block, final=not block), 0
                continue
            number, separated = number + 1, False
            if (found := _as_row(path, number, row, broken)) is not None:
                yield number, found
        rest: str | bytes = text[place + 1 :]
        while not rest.strip():
            if not (rest := file.read(_BLOCK)):
                return
        message = "there is more after the end of the list; write one list, or one object per line"
        raise BadData(message, path=path)
    except UnicodeDecodeError:
        raise BadData("not UTF-8; write the file again as UTF-8", path=path, row=number + 1) from None


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in " \t\r\n":
        place += 1
    return place


def _as_row(path: Path, number: int, row: Any, broken: Broken) -> dict[str, Any] | None:
    """An item as a row; ORZ's are lists of turns."""
    if isinstance(row, list) and row and all(isinstance(each, dict) for each in row):
        return {str(index): each for index, each in enumerate(row)}
    if isinstance(row, dict):
        return row
    error = BadData(f"expected an object, found {describe(row)}", path=path, row=number)
    if broken is None:
        raise error
    broken(error)
    return None
