"""Notations outside the expression grammar: times, bases, circled numbers, words, repeating decimals."""

from __future__ import annotations

import re
from fractions import Fraction

from mathloop.answers.nouns import droppable
from mathloop.answers.numbers import read_number
from mathloop.answers.syntax import (
    HALF,
    MINUS_ONE,
    TIME,
    Apply,
    Collection,
    Node,
    Number,
    Quantity,
    Relation,
    Symbol,
    Text,
    power,
)
from mathloop.answers.tokens import Unreadable
from mathloop.answers.units import scale
from mathloop.answers.words import chinese_integer, read_words

_HALF_DAYS = {"凌晨": "a", "上午": "a", "早上": "a", "下午": "p", "傍晚": "p", "晚上": "p", "中午": "p"}
_TIME = re.compile(
    r"(凌晨|上午|早上|中午|下午|傍晚|晚上)?\s*(\d{1,2})\s*(?:(:)\s*(\d{2})|([点时])\s*(?:(\d{1,2})|(半))?)?(?:分|整)?"
    r"\s*(?:\\(?:text|mathrm|mbox)\s*\{)?\s*(?:([ap])\.?\s*m\.?)?\s*\}?",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:(\d{4}|[零〇一二三四五六七八九]{4})年)?(\d{1,2}|[一二三四五六七八九十]{1,2})月(\d{1,2}|[一二三四五六七八九十]{1,3})[日号]"
    r"|(\d{4})-(\d{1,2})-(\d{1,2})"
)
LONGEST_DATE = 40
"""Characters of a date in English."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_DAY = r"(?:the\s+)?(\d{1,2})(?:st|nd|rd|th)?"
_CALENDAR = re.compile(
    rf"(?:{_MONTH}\s+{_DAY}|{_DAY}\s+(?:of\s+)?{_MONTH})(?:\s*,?\s*(\d{{4}}))?", re.IGNORECASE
)
"""July 4, 2021; 4th of July."""
_NOON = re.compile(r"(?:12(?::00)?\s*)?(noon|midnight)", re.IGNORECASE)
_BASES = {
    word: index + 2
    for index, word in enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"))
} | {"eleven": 11, "twelve": 12, "sixteen": 16}  # fmt: skip
_BASE = r"(\d{1,2}|" + "|".join(_BASES) + ")"
_BASED = re.compile(
    r"\(?\s*(?:\\(?:text|mathrm)\s*\{)?\s*([0-9A-Fa-f]+)\s*\}?\s*\)?\s*"
    r"(?:_\s*\{?\s*(?:\\(?:text|mathrm)\s*\{|\()?\s*(?:base\s*\}?\s*)?|,?\s*(?:\(|in\s+"
    r"|\\text\s*\{\s*)?base[\s}-]*)" + _BASE + r"\s*[})]*"
)
_PREFIXED = re.compile(r"0([xXoObB])([0-9A-Fa-f]{1,60})")
_DIVIDED = re.compile(
    r"(?:商(?:为|是)?\s*)?(\d+|[一二两三四五六七八九十百]+)\s*[,，]?\s*"
    r"(?:余数?(?:为|是)?|(?:\\ldots\s*)+|\.{3,6}|\\text\s*\{\s*(?:R|remainder)\s*\}|R|(?:with\s*)?remainder)\s*"
    r"(\d+|[一二两三四五六七八九十百]+)"
)
_RESIDUE = re.compile(
    r"(?:(?P<name>.+?)\s*\\equiv\s*)?(?P<values>[-\d][-\d\s,]*(?:or\s*[-\d\s]+)?)"
    r"[\s\\]*\(?\s*\\?(?:(?:mathrm|text|operatorname)\s*\{\s*mod\s*\}"
    r"|[pb]?mod)[\s\\]*\{?\s*(?P<modulus>\d{1,9})\s*\}?\s*\\?\)?"
)
_PART_NUMBERS = re.compile(r"(?:\(\d\)\s*[,、和]?\s*){2,}")
_CYCLES = re.compile(r"(?:\(\s?[1-9](?:\s?[1-9]){1,8}\s?\)\s?){2,20}")
_CIRCLED = {chr(0x2460 + index): str(index + 1) for index in range(20)}
_TEXT_CIRCLED = re.compile(r"\\textcircled\s*\{?\s*(\d+)\s*\}?")
_COUNTERS = frozenset("个只人本件条张组颗袋棵辆名岁支枚位次种倍页块片头匹朵层排行道题步圈把台双套份箱瓶杯盒")
_IN_TEXT = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{([^{}]*)\}")
_WORDS = re.compile(r"\\(?:text|mathrm|textbf|mbox)\s*\{([a-zA-Z\u4e00-\u9fff ()\d.,-]*)\}")
_APPLIED = re.compile(
    r"(-?\d{1,30}(?:\.\d{1,30})?)的(算术平方根|立方根|倒数|相反数|绝对值|平方|立方|一半|\d{1,3}倍)"
)
_PLAIN_QUANTITY = re.compile(r"([-+]?\d[\d,./]{0,30}) ([A-Za-z]{2,}(?:[ -][A-Za-z]{1,20}){0,6})\.?")
_CONDITIONAL = (" for ", " if ", " when ")
_CASE = re.compile(r"([^,;]{1,80}?)\s(?:for|if|when)\s(?:all\s)?([^,;]{1,60})", re.IGNORECASE)
_BETWEEN_CASES = re.compile(r"[,;]\s?(?:and\s)?|\sand\s")
_PARITY = re.compile(
    r"\b(?:(even|odd|positive|negative)\s([a-z])|([a-z])\sis\s(even|odd|positive|negative))\b"
)
_COUNTED = re.compile(r"([\d.,]*[零一二两三四五六七八九十百千万亿分之又]+)([\u4e00-\u9fff]{1,3})")


def read_notation(text: str) -> Node | None:
    """Times, numbers in a base, circled numbers and numbers in words; None for anything else."""
    if len(text) < LONGEST_DATE and (" " in text or text[-1:] in "nt}"):
        bare = _IN_TEXT.sub(r"\1", text).strip() if text.startswith(("\\text", "\\m")) else text
        if (match := _CALENDAR.fullmatch(bare)) is not None and (date := _calendar_date(match)) is not None:
            return date
        if (match := _NOON.fullmatch(bare)) is not None:
            return Symbol("time 12:00" if match[1].lower() == "noon" else "time 0:00")
    if ":" in text or text.lower().endswith(("m", "m.", "m}", "m.}")) or any(mark in text for mark in "点时"):
        match = _TIME.fullmatch(text)
        if match is not None and int(match.group(2)) < 25 and (time := _time(match)) is not None:
            return time
    if ("月" in text or "-" in text) and (match := _DATE.fullmatch(text)):
        return _date(match)
    if ("_" in text or "base" in text) and (match := _BASED.fullmatch(text)):
        digits, base = match.group(1).lstrip("0") or "0", _BASES.get(match.group(2)) or int(match.group(2))
        named = len(digits) == 1 and digits.isalpha()  # a_{12} is a term of a sequence
        if 2 <= base <= 36 and not named and all(int(digit, 36) < base for digit in digits):
            return Number(Fraction(digits)) if base == 10 else Symbol(f"base {base} {digits.upper()}")
    if text[:1] == "0" and (match := _PREFIXED.fullmatch(text)):
        base = {"x": 16, "o": 8, "b": 2}[match[1].lower()]
        if all(int(digit, 16) < base for digit in match[2]):
            return Symbol(f"base {base} {match[2].upper().lstrip('0') or '0'}")
    if match := _DIVIDED.fullmatch(text):
        parts = [chinese_integer(part) for part in match.groups()]
        if None in parts:
            raise Unreadable("a number is too long")
        return Collection("division", tuple(Number(Fraction(part or 0)) for part in parts))
    if any(word in text for word in _CONDITIONAL) and (pieces := _cases(text)) is not None:
        return pieces
    if "mod" in text and (match := _RESIDUE.fullmatch(text)):
        return _residues(match)
    if text.startswith("(") and _CYCLES.fullmatch(text) and (permutation := _permutation(text)) is not None:
        return permutation
    if _PART_NUMBERS.fullmatch(text):
        return Collection(
            "set", tuple(Symbol(chr(0x245F + int(digit))) for digit in text if digit in "123456789")
        )
    circled = (
        _TEXT_CIRCLED.sub(lambda match: chr(0x2460 + int(match.group(1)) - 1), text)
        if "circled" in text
        else text
    )
    marks = [mark for mark in circled if mark not in " ,、;和与"]
    if marks and all(mark in _CIRCLED for mark in marks):
        return Collection("set", tuple(Symbol(mark) for mark in marks))
    if "{" in text:
        text = _WORDS.sub(r" \1 ", text).strip()
    if match := _APPLIED.fullmatch(text):
        return _applied(match[1], match[2])
    if not any(mark in "\\{}[]()=<>^" for mark in text):
        value = read_words(text)
        if value is not None:
            return Number(value)
        plain = _PLAIN_QUANTITY.fullmatch(text)
        if plain and (number := read_number(plain[1])) is not None and droppable(plain[2]):
            places = len(plain[1].partition(".")[2])
            return Quantity(Number(number, places), plain[2])
        if text.startswith("百分之") and (value := _number_or_words(text[3:])) is not None:
            return Apply("percent", (Number(value),))
        split = _COUNTED.fullmatch(text)
        whole_unit = scale(text.lstrip("0123456789.,")) is not None  # 千克 is no thousand
        counted = (
            split is not None and not whole_unit and (scale(split.group(2)) or split.group(2) in _COUNTERS)
        )
        if split and counted and (value := read_words(split.group(1))) is not None:
            return Quantity(Number(value), split.group(2))
    return None


def _permutation(text: str) -> Node | None:
    """(12)(345) as a product of cycles, each from its smallest number on; disjoint ones in any order."""
    cycles = ["".join(cycle.split()) for cycle in re.findall(r"\(([^()]*)\)", text)]
    if any(len(set(cycle)) < len(cycle) for cycle in cycles):
        return None
    turned = [cycle[cycle.index(min(cycle)) :] + cycle[: cycle.index(min(cycle))] for cycle in cycles]
    if len(set("".join(turned))) == len("".join(turned)):
        turned.sort()
    return Symbol(f"permutation {' '.join(turned)}")


def _cases(text: str) -> Node | None:
    """`x for even n, -x for odd n` as a piecewise value; None for anything else."""
    rows = []
    for part in _BETWEEN_CASES.split(text):
        match = _CASE.fullmatch(part.strip())
        if match is None:
            return None
        condition = _PARITY.sub(
            lambda found: f"{found[1] or found[4]} {found[2] or found[3]}", match[2].strip()
        )
        rows.append(Collection("row", (Text(match[1].replace(" ", "")), Text(" ".join(condition.split())))))
    return Collection("pieces", tuple(rows)) if len(rows) > 1 else None


def _applied(number: str, function: str) -> Node | None:
    """8的立方根 as the number that it is."""
    value = Number(Fraction(number))
    if function.endswith("倍"):
        return Number(value.value * int(function[:-1]))
    exponents = {"算术平方根": HALF, "立方根": Number(Fraction(1, 3)), "倒数": MINUS_ONE}
    exponents |= {"平方": Number(Fraction(2)), "立方": Number(Fraction(3))}
    if function in exponents:
        return power(value, exponents[function])
    exact = {"相反数": -value.value, "绝对值": abs(value.value), "一半": value.value / 2}
    return Number(exact[function])


def _time(match: re.Match[str]) -> Node | None:
    """A time of day on a 24-hour clock if the text marks it as one, else a ratio that may be a time."""
    part_of_day, digits, colon, minute, mark, minutes, half_hour, marked = match.groups()
    hour, half = int(digits), _HALF_DAYS.get(part_of_day or "", (marked or "").lower())
    past = 30 if half_hour else int(minute or minutes or 0)
    if past > 59:
        return None
    if not half and not part_of_day and colon:
        return Collection("ratio", (Number(Fraction(hour)), Number(Fraction(past))), TIME)
    if not half and not part_of_day and (mark is None or (mark == "时" and not (minutes or half_hour))):
        return None
    if part_of_day == "中午" and 10 <= hour <= 12:
        half = ""
    if part_of_day == "晚上" and (hour == 12 or hour < 5):
        half = "a"
    if half and hour <= 12:
        hour = hour % 12 + (12 if half == "p" else 0)
    return Symbol(f"time {hour}:{past:02}")


def _date(match: re.Match[str]) -> Node:
    year, month, day, *numeric = match.groups()
    parts = numeric if month is None else [year, month, day]
    numbers = [chinese_integer(part) if part else None for part in parts]
    return Symbol("date " + "-".join("" if number is None else str(number) for number in numbers))


def _calendar_date(match: re.Match[str]) -> Node | None:
    """The same symbol as for 7月4日; None for a day that no month has."""
    month, day, other_day, other_month, year = match.groups()
    number = _MONTHS.index((month or other_month)[:3].lower()) + 1
    date = int(day or other_day)
    return Symbol(f"date {year or ''}-{number}-{date}") if 0 < date < 32 else None


def _residues(match: re.Match[str]) -> Node:
    """x ≡ 10 (mod 7) as x = 3, with the modulus as its unit."""
    modulus = int(match["modulus"])
    if not modulus:
        raise Unreadable("a modulus of zero")
    digits = re.findall(r"-?\d{1,30}", match["values"])
    values = [Quantity(Number(Fraction(int(each) % modulus)), f"mod {modulus}") for each in digits]
    listed: Node = values[0] if len(values) == 1 else Collection("list", tuple(values), "or")
    name = (match["name"] or "").strip()
    if not name:
        return listed
    if not re.fullmatch(r"[a-zA-Z]", name):
        raise Unreadable("a congruence of more than one variable")
    return Relation((Symbol(name), listed), ("=",))


def _number_or_words(text: str) -> Fraction | None:
    return Fraction(text) if re.fullmatch(r"\d{1,20}(?:\.\d{1,20})?", text) else read_words(text)
