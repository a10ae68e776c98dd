"""Parsing of hand-written JSON lines, and values as messages show them."""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

from mathloop.errors import BadData

LONGEST = 1 << 27
"""Bytes of a line, and of a JSON value in a file, at most: parsed it takes several times as much memory."""
SHOWN = 40
"""Characters of a value that a message shows at most."""


def whole_lines(path: Path | str, file: BinaryIO) -> Iterator[bytes]:
    """The lines of an open file, split at newlines only: U+2028 inside a text ends none.

    Raises:
        BadData: a line is longer than `LONGEST`.
    """
    number = 0
    while line := file.readline(LONGEST + 1):
        number += 1
        check_length(path, number, len(line))
        yield line


def check_length(path: Path | str, number: int | None, length: int) -> None:
    """Raises BadData if row `number` is longer than `LONGEST`."""
    if length > LONGEST:
        message = f"longer than {LONGEST:,} bytes; expected one problem per line, or a list of objects"
        raise BadData(message, path=path, row=number)


def parse_line(path: Path | str, number: int, line: bytes) -> dict[str, Any] | None:
    """The object on line `number` of a file, None if the line is blank; a byte order mark is ignored.

    Raises:
        BadData: the line is not UTF-8, or not a JSON object that could be written as JSON again.
    """
    if number == 1:
        line = line.removeprefix(b"\xef\xbb\xbf")
    if not line.strip():
        return None
    try:
        return parse_object(line)
    except json.JSONDecodeError as error:
        cut = "" if line.endswith(b"\n") else " (the file's last line: was it cut off?)"
        message = f"not JSON: {error.msg} at column {error.colno}{cut}; expected one JSON object per line"
        raise BadData(message, path=path, row=number) from None
    except ValueError as error:
        raise BadData(f"{error}; fix or remove the row", path=path, row=number) from None


def parse_object(data: bytes) -> dict[str, Any]:
    """Parses a JSON object; raises ValueError with a readable reason if it could not be written again."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        place = f"byte 0x{data[error.start]:02x} at column {error.start + 1}"
        raise ValueError(f"not UTF-8 ({place})") from None
    with _readable_reasons():
        value = _DECODER.decode(text)
        _check_surrogates(value, text)
    if not isinstance(value, dict):
        raise ValueError(f"expected a JSON object, found {describe(value)}")
    return value


def parse_value(text: str, start: int) -> tuple[Any, int]:
    """The JSON value that begins at `start`, and where it ends; raises ValueError as `parse_object` does."""
    with _readable_reasons():
        value, end = _DECODER.raw_decode(text, start)
        _check_surrogates(value, text[start:end])
    return value, end


@contextmanager
def _readable_reasons() -> Iterator[None]:
    """Raises ValueError with a reason that a reader understands."""
    try:
        yield
    except RecursionError:
        raise ValueError("JSON that is nested too deep") from None
    except UnicodeEncodeError:
        raise ValueError(
            "half of a surrogate pair (\\ud800 to \\udfff) where a character should be"
        ) from None


def _check_surrogates(value: Any, text: str) -> None:
    """Raises UnicodeEncodeError if the value of `text` holds half of a surrogate pair."""
    if "\\ud" in text.lower():
        json.dumps(value, ensure_ascii=False).encode("utf-8")


def describe(value: Any) -> str:
    """A value with its kind, for a message about a data file: "text '7'"."""
    if value is None:
        return "nothing (null)"
    names = {
        bool: "true or false",
        int: "a number",
        float: "a number",
        str: "text",
        list: "a list",
        dict: "an object",
    }
    return f"{names.get(type(value), type(value).__name__)} {shown(value)}"


def shown(value: Any) -> str:
    """A value's repr, cut to `SHOWN` characters."""
    try:
        text = repr(value)
    except RecursionError:
        return "..."
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def is_blank(text: str) -> bool:
    """Whether a text has nothing visible: only spaces, control and zero-width characters."""
    return all(unicodedata.category(letter)[0] in "ZC" for letter in text)


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"the number {shown(text)} is too large")
    return value


def _integer(text: str) -> int:
    if len(text) > 4000:
        raise ValueError(f"JSON with a number of {len(text)} digits")
    return int(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(parse_float=_finite, parse_int=_integer, parse_constant=_refuse_constant)
