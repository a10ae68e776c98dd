"""Rewrites spellings within an answer: bounds in words, repeating decimals, currencies, part numbers."""

from __future__ import annotations

import re
from fractions import Fraction

from mathloop.answers.normalization import MONEY
from mathloop.answers.tokens import Unreadable

_ABOUT = re.compile(
    r"^(?:大约|about|approximately|approx\.?|roughly)\s+(?=[\d\\])|^(?:大约|约为?)(?=[\d\\])",
    re.IGNORECASE,
)

_EXACTLY = re.compile(
    r"^(?:(?:exactly|precisely|positive)\s+|\\text\s*\{\s*(?:exactly|precisely|positive)\s*\}\s*|正)(?=[\d\\])",
    re.IGNORECASE,
)

_COMPARED = re.compile(
    r"^([a-zA-Z])\s+is\s+(?:(at\s+least|no\s+less\s+than|not\s+less\s+than)|(at\s+most|no\s+more\s+than|not\s+more\s+than)"
    r"|((?:greater|more|larger)\s+than)|((?:less|smaller)\s+than))\s+(?=[-\d\\])",
    re.IGNORECASE,
)
_SIGNS = (r"\ge", r"\le", ">", "<")

_QUOTIENT = re.compile(
    r"(?:\\text\s*\{)?\s*(quotient|remainder)(?:\s+is)?\s*[=:]?\s*\}?\s*([^,;]{1,60}?)[\s\\]*[,;]?[\s\\]*(?:and\s+)?"
    r"(?:\\text\s*\{)?\s*(?:and\s+)?(quotient|remainder)(?:\s+is)?\s*[=:]?\s*\}?\s*([^,;]{1,60})",
    re.IGNORECASE,
)

_ARC = re.compile(r"(\d+)\s*\^\s*\{?\\circ\s*\}?\s*(\d{1,2})\s*'(?:\s*(\d{1,2})\s*(?:''|\"))?")

_CONDITION = re.compile(r"\s*\\?\s*\(\s*([a-z]\s*\\in\s*[^()]+)\)$")

_POINT = re.compile(
    r"^\\text\s*\{\s*(?:the\s+)?(?:(?:open|closed|half-open)\s+)?"
    r"(?:points?|vertex|center|answer is|interval)\s*\}\s*(?=[\[(])"
)

_MEASURED_AND = re.compile(
    r"(?<=\d)(\s*(?:hours?|hrs?|minutes|mins?|feet|ft|pounds|lbs?|dollars|yards|miles))\s+and\s+(?=\d)"
)

_HOURS_MINUTES = re.compile(r"^(\d+)\s*h\s*(\d{1,2})\s*min(?:s|utes?)?\.?$")

_OF_INDEX = re.compile(
    r"[,\s]*\(?\s*[nkm]\s*\\in\s*(?:\\mathbb\s*\{?\s*)?[NZ]\s*\}?\s*(?:[\^_]\s*\{?\s*[*+]\s*\}?)?\s*\)?$"
)

"""The domain of a sequence's index, which is implied."""

_TO = re.compile(r"(?<=\d)\s*(?:\\text\s*\{\s*to\s*\}|to)\s*(?=\d)")

_BELOW = re.compile(
    r"^(\d+(?:\.\d+)?\s*(?:\^\s*\{?\\circ\}?\s*[CF]?|degrees?(?:\s+(?:celsius"
    r"|fahrenheit))?)?)\s*(?:\\text\s*\{)?\s*below\s+zero\s*\}?$"
    r"|^零下\s*(?=\d)(.*)$"
)

_ALL_BUT = re.compile(
    r"^(?:\\text\s*\{\s*)?all\s+real(?:\s+number)?s?(?:\s+x)?\s+except(?:\s+for)?\s*(?:x\s*=\s*)?\}?\s*([^,;]{1,40}?)\}?$",
    re.IGNORECASE,
)

_ALWAYS = re.compile(
    r"[,\s]*\\text\s*\{\s*for\s+(?:all|every|any)(?:\s+real)?(?:\s+numbers?)?\s*(?:\}\s*[a-z]|[a-z]\s*\})$"
)

"""What a function is said to hold for, where that is every number."""

_CURRENCY_SIGNS = {"RS": "₹", "INR": "₹", "USD": MONEY, "EUR": "€", "GBP": "£", "RMB": "¥"}

_CURRENCY = re.compile(
    r"^(?:\\(?:text|mathrm|mbox)\s*\{\s*)?(Rs\.?|INR|USD|EUR|GBP|RMB)\s*\}?\s*(?=\d)", re.IGNORECASE
)

_INFINITY = re.compile(r"^(?:(negative|minus|-)|positive|plus)\s*infinity$", re.IGNORECASE)

_EVERYWHERE = re.compile(
    r"^([a-zA-Z]\([a-z]\)\s*=[^,;]{1,200}?),?\s+for\s+(?:all|every|any)\s+(?:(?:positive|non-?negative|real)\s+)?"
    r"(?:(?:integers?|numbers?|reals?|rationals?|naturals?)(?:\s+numbers?)?(?:\s+[a-z])?|[a-z])$"
)
"""A function and that it is so for all numbers of its domain."""

_OVERLINE = re.compile(r"(\d*)\.(\d*)\s*(?:\\(?:overline|bar)\s*\{?\s*(\d+)\s*\}?|\((\d+)\))(?!\s*\d)")

_DOTTED = re.compile(r"(\d*)\.(\d*)\s*\\dot\s*\{?\s*(\d)\s*\}?(?:(\d*)\s*\\dot\s*\{?\s*(\d)\s*\}?)?(?!\s*\d)")

_ELLIPSIS = re.compile(r"(\d*)\.(\d*?)(\d+?)\3{2,}\s*(?:\\[lc]?dots|\.\.\.)")

_PARTS = re.compile(r"\s*[;,.]?\s*\((\d)\)\s*")

_RATIO = re.compile(r"(?<=\d)\s*比\s*(?=\d)")


def rewrite(text: str) -> str:
    """The text with repeating decimals as fractions, ":" for 比, and without "about" and part numbers."""
    if "except" in text:
        text = _ALL_BUT.sub(r"x \\ne \1", text)
    if "below" in text or "零下" in text:
        text = _BELOW.sub(lambda match: f"-{match[1] or match[2]}", text)
    if "quotient" in text and (found := _QUOTIENT.fullmatch(text)):
        text = _in_order(*found.groups())
    text = _EXACTLY.sub("", text)
    if " is " in text:
        text = _COMPARED.sub(_as_relation, text)
    if "\\text" in text:
        text = _ALWAYS.sub("", text)
    if text[:1].isalpha() or text[:1] == "\\":
        text = _CURRENCY.sub(lambda match: _CURRENCY_SIGNS[match[1].rstrip(". ").upper()], text)
    if text.endswith("infinity"):
        text = _INFINITY.sub(_as_infinity, text)
    if " for " in text and "(" in text:
        text = _EVERYWHERE.sub(r"\1", text)
    text = _ABOUT.sub("", _POINT.sub("", text)).removeprefix("\\approx").strip()
    if text.startswith("(1)"):
        text = _without_part_numbers(text)
    if "比" in text:
        text = _RATIO.sub(":", text)
    if "min" in text:
        text = _HOURS_MINUTES.sub(r"\1 hours \2 minutes", text)
    if " and " in text:
        text = _MEASURED_AND.sub(r"\1 ", text)
    if "\\in" in text and "_" in text:
        text = _OF_INDEX.sub("", text)
    if "to" in text:
        text = _TO.sub(":", text)
    if text.endswith(")"):
        text = _CONDITION.sub(r", \1", text)
    if "'" in text:
        text = _ARC.sub(_in_degrees, text)
    if "." not in text:
        return text
    if any(mark in text for mark in ("overline", "bar", "(")):
        text = _OVERLINE.sub(
            lambda match: _repeating(match.group(1), match.group(2), match.group(3) or match.group(4)), text
        )
    if "\\dot" in text:
        text = _DOTTED.sub(
            lambda match: _repeating(
                match.group(1),
                match.group(2),
                match.group(3) + (match.group(4) or "") + (match.group(5) or ""),
            ),
            text,
        )
    if "dots" in text or "..." in text:
        text = _ELLIPSIS.sub(lambda match: _repeating(match.group(1), match.group(2), match.group(3)), text)
    return text


def _as_infinity(match: re.Match[str]) -> str:
    return rf"{'-' if match[1] else ''}\infty "


def _as_relation(match: re.Match[str]) -> str:
    sign = next(sign for sign, words in zip(_SIGNS, match.groups()[1:], strict=True) if words)
    return f"{match[1]} {sign} "


def _in_order(name: str, value: str, other_name: str, other: str) -> str:
    """Quotient and remainder, in this order; of integers as 7 remainder 2."""
    parts = {name.lower(): value.strip(), other_name.lower(): other.strip()}
    if len(parts) < 2:
        return f"{name} {value}, {other_name} {other}"
    quotient, remainder = parts["quotient"], parts["remainder"]
    if quotient.isdigit() and remainder.isdigit():
        return f"{quotient} remainder {remainder}"
    return rf"\text{{quotient}} = {quotient}, \text{{remainder}} = {remainder}"


def _in_degrees(match: re.Match[str]) -> str:
    seconds = 3600 * int(match[1]) + 60 * int(match[2]) + int(match[3] or 0)
    return rf"(\frac{{{seconds}}}{{3600}})^\circ "


def _repeating(whole: str, fixed: str, period: str) -> str:
    if len(whole + fixed + period) > 60:
        raise Unreadable("a period that is too long")
    value = Fraction(
        int((whole or "0") + fixed + period) - int((whole or "0") + fixed),
        10 ** len(fixed) * (10 ** len(period) - 1),
    )
    return f"\\frac{{{value.numerator}}}{{{value.denominator}}}"


def _without_part_numbers(text: str) -> str:
    """(1) 3; (2) 5 as 3; 5, if the parts are numbered in order."""
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


_SCIENTIFIC = re.compile(
    r"(^|[=,;(\[{:<>~])( ?[-+]? ?)(\d{1,40}(?:\.\d{1,40})?)[eE]([-+]?\d{1,3})"
    r"(?= ?(?:$|[,;)\]}:<>=]|\\text| [a-zA-Z]))"
)


def _with_power(match: re.Match[str]) -> str:
    """1e-7 as 10^{-7}; e-7 and 2e-7+x are e minus 7."""
    before, sign, mantissa, exponent = match.groups()
    return f"{before}{sign}{mantissa}\\cdot 10^{{{int(exponent)}}}"


def with_powers(text: str) -> str:
    """The text with numbers such as 1.5e-7 as products with a power of ten."""
    return _SCIENTIFIC.sub(_with_power, text)
