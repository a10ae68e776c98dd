"""Notations that no expression grammar covers: times, bases, circled numbers, words, repeating decimals."""

from __future__ import annotations

import re
from fractions import Fraction

from mathloop.answers.syntax import TIME, Apply, Collection, Node, Number, Quantity, Symbol
from mathloop.answers.tokens import Unreadable
from mathloop.answers.words import read_words

_HALF_DAYS = {"上午": "a", "早上": "a", "下午": "p", "晚上": "p"}
_ABOUT = re.compile(
    r"^(?:大约|about|approximately|approx\.?|roughly|nearly)\s+(?=[\d\\])|^(?:大约|约为?)(?=[\d\\])",
    re.IGNORECASE,
)
_TIME = re.compile(
    r"(上午|早上|下午|晚上)?\s*(\d{1,2})\s*(?:([:点])\s*(\d{2})?)?(?:分|整)?"
    r"\s*(?:\\(?:text|mathrm|mbox)\s*\{)?\s*(?:([ap])\.?\s*m\.?)?\s*\}?",
    re.IGNORECASE,
)
_BASED = re.compile(r"\(?\s*([0-9A-Fa-f]+)\s*\)?\s*_\s*\{?\s*(?:\\text\s*\{|\()?\s*(\d{1,2})\s*[})]*")
_OVERLINE = re.compile(r"(\d*)\.(\d*)\s*(?:\\overline\s*\{?\s*(\d+)\s*\}?|\((\d+)\))")
_DOTTED = re.compile(r"(\d*)\.(\d*)\s*\\dot\s*\{?\s*(\d)\s*\}?(?:(\d*)\s*\\dot\s*\{?\s*(\d)\s*\}?)?")
_ELLIPSIS = re.compile(r"(\d*)\.(\d*?)(\d+?)\3{2,}\s*(?:\\[lc]?dots|\.\.\.)")
_PARTS = re.compile(r"\s*[;,.]?\s*\((\d)\)\s*")
_RATIO = re.compile(r"(?<=\d)\s*比\s*(?=\d)")
_CIRCLED = {chr(0x2460 + index): str(index + 1) for index in range(20)}
_TEXT_CIRCLED = re.compile(r"\\textcircled\s*\{?\s*(\d+)\s*\}?")
_COUNTED = re.compile(r"([\d.,]*[零一二两三四五六七八九十百千万亿分之又]+)([\u4e00-\u9fff]{1,3})")


def read_notation(text: str) -> Node | None:
    """Times, numbers in a base, circled numbers and numbers in words."""
    if ":" in text or "点" in text or text.endswith(("m", "m.")):
        match = _TIME.fullmatch(text)
        if match is not None and int(match.group(2)) < 25 and int(match.group(4) or 0) < 60:
            return _time(match)
    if "_" in text and (match := _BASED.fullmatch(text)):
        digits, base = match.group(1).lstrip("0") or "0", int(match.group(2))
        if 2 <= base <= 36 and all(int(digit, 36) < base for digit in digits) and base != 10:
            return Symbol(f"base {base} {digits.upper()}")
    circled = (
        _TEXT_CIRCLED.sub(lambda found: chr(0x2460 + int(found.group(1)) - 1), text)
        if "circled" in text
        else text
    )
    marks = [mark for mark in circled if mark not in " ,、;和与"]
    if marks and all(mark in _CIRCLED for mark in marks):
        return Collection("set", tuple(Symbol(mark) for mark in marks))
    if not any(mark in "\\{}[]()=<>^" for mark in text):
        value = read_words(text)
        if value is not None:
            return Number(value)
        if text.startswith("百分之") and (value := _number_or_words(text[3:])) is not None:
            return Apply("percent", (Number(value),))
        if (split := _COUNTED.fullmatch(text)) and (value := read_words(split.group(1))) is not None:
            return Quantity(Number(value), split.group(2))
    return None


def _time(match: re.Match[str]) -> Node | None:
    """A time of day on 24 hours where the text says that it is one, else a ratio that may be a time."""
    morning, digits, colon, minute, marked = match.groups()
    hour, half = int(digits), _HALF_DAYS.get(morning or "", (marked or "").lower())
    if not half and colon == ":":
        if minute is None:
            return None
        return Collection("ratio", (Number(Fraction(hour)), Number(Fraction(minute))), TIME)
    if not half and colon is None:
        return None
    if half:
        hour = hour % 12 + (12 if half == "p" else 0)
    return Symbol(f"time {hour}:{minute or '00'}")


def _number_or_words(text: str) -> Fraction | None:
    return Fraction(text) if re.fullmatch(r"\d{1,20}(?:\.\d{1,20})?", text) else read_words(text)


def rewritten(text: str) -> str:
    """The text with repeating decimals as fractions and without "about", part numbers and 比."""
    text = _ABOUT.sub("", text).removeprefix("\\approx").strip()
    if text.startswith("(1)"):
        text = _without_part_numbers(text)
    if "比" in text:
        text = _RATIO.sub(":", text)
    if "." not in text:
        return text
    if "overline" in text or "(" in text:
        text = _OVERLINE.sub(
            lambda found: _repeating(found.group(1), found.group(2), found.group(3) or found.group(4)), text
        )
    if "\\dot" in text:
        text = _DOTTED.sub(
            lambda found: _repeating(
                found.group(1),
                found.group(2),
                found.group(3) + (found.group(4) or "") + (found.group(5) or ""),
            ),
            text,
        )
    if "dots" in text or "..." in text:
        text = _ELLIPSIS.sub(lambda found: _repeating(found.group(1), found.group(2), found.group(3)), text)
    return text


def _repeating(whole: str, fixed: str, period: str) -> str:
    if len(whole + fixed + period) > 60:
        raise Unreadable("a period too long")
    value = Fraction(
        int((whole or "0") + fixed + period) - int((whole or "0") + fixed),
        10 ** len(fixed) * (10 ** len(period) - 1),
    )
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _without_part_numbers(text: str) -> str:
    """(1) 3; (2) 5 as 3; 5, if the parts are numbered so."""
    empty, *pieces = _PARTS.split(text)
    numbers, parts = pieces[::2], pieces[1::2]
    if (
        empty
        or len(parts) < 2
        or not all(parts)
        or numbers != [str(index + 1) for index in range(len(parts))]
    ):
        return text
    return ";".join(parts)
