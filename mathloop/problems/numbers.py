"""Other numbers for a statement: MuggleMath's operation "change specific numbers", without a writer.

One draw per distinct number, in the order of the old ones, so that what was less stays less. What only looks
like a quantity stays as it is: exponents, indices, ordinals, years, clock times, fractions, numbers in units
and numbers that define one (7 days a week). A number that the statement also writes in another way (five,
5.00, 5th) stays too. Where the new statement would contradict itself there is none.
"""

from __future__ import annotations

import random
import re
from typing import NamedTuple

_NUMBER = re.compile(r"\.?[0-9]+(?:[.,][0-9]+)*")
_MONTH = r"(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_INSIDE = re.compile(r"(?:[\^_]\s*\{?\s*[+-]?|[\^_]\{[^{}]*|\*\*\s*|[A-Za-z]|\\sqrt\[)$")
"""Before an exponent, an index, or a number in a name or unit: x^2, a_{n+1}, km2, H2O. Another quantity than
an equal number elsewhere."""
_FIXED_BEFORE = re.compile(
    r"(?:第\s*|#\s*|[0-9]\s*/\s*|[0-9]:|\\[dt]?frac\{|\\[dt]?frac\{[^{}]*\}\{|分之\s*"
    rf"|\b{_MONTH}\s"
    r"|\b(?:no\.|number|grade|question|problem|figure|chapter|room|level|lesson|part|step|case|day|week|year)\s)$",
    re.IGNORECASE,
)
_FIXED_AFTER = re.compile(
    rf"(?:st|nd|rd|th)\b|\s*/\s*[0-9]|\s[0-9]+/[0-9]|D\b|\s*分之|\s*[年月日号]|\s(?:of\s)?{_MONTH}\b",
    re.IGNORECASE,
)
_CLOCK = re.compile(r":[0-9]{2}\b|\s*[ap]\.?\s?m\b|\s*o['’]clock|\s*点(?!心)", re.IGNORECASE)
_TIME = re.compile(rf"[0-9]{{1,2}}(?::[0-9]{{2}})?(?:{_CLOCK.pattern})", re.IGNORECASE)
_YEAR = re.compile(r"\b(?:in|since|by|from|until|till|to|of|during|before|after|and)\s$", re.IGNORECASE)
_UNITS = (
    ("seconds?", "minute", 60),
    ("minutes?", "hour", 60),
    ("hours?", "day", 24),
    ("days?|times", "week", 7),
    ("nights?", "week", 7),
    ("days?", "month", 31),
    ("weeks?", "month", 5),
    ("months?", "year", 12),
    ("weeks?", "year", 53),
    ("days?", "year", 366),
    ("cents?", "dollar", 100),
    ("inches", "foot", 12),
)
"""(part, whole, most parts in the whole): a number that is the most stays, and none gets above it."""
_IN_A_WHOLE = [
    (re.compile(rf"\s+(?:{part})\s+(?:a|an|per|each|every|in an?|of the|in each)\s+{whole}\b", re.I), most)
    for part, whole, most in _UNITS
] + [(re.compile(r"\s*天?(?:一|每)周"), 7), (re.compile(r"\s*小时(?:一|每)天"), 24)]
_NAMES = (
    "two 二 两,three 三,four 四,five 五,six 六,seven 七,eight 八,nine 九,ten 十,eleven,twelve dozen,thirteen,"
    "fourteen,fifteen,sixteen,seventeen,eighteen,nineteen,twenty"
)
_TENS = {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_WORDS = _TENS | {
    word: value for value, words in enumerate(_NAMES.split(","), start=2) for word in words.split()
}
_WORD = re.compile(rf"(?<![A-Za-z])(?:{'|'.join(sorted(_WORDS, key=len, reverse=True))})(?![a-z])", re.I)
_PERCENT = re.compile(r"\s*(?:\\?%|percent)")
_GROUPED = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_LONGEST = 6
"""Digits of a number that is changed."""
_TRIES = 100


class Changed(NamedTuple):
    """A statement with other numbers, or the reason why there is none."""

    text: str
    refused: str


class _Place(NamedTuple):
    start: int
    end: int
    value: int
    most: int | None
    """What the number must not exceed, by the unit after it."""


def change_numbers(text: str, rng: random.Random) -> Changed | None:
    """The statement with other numbers of the same sizes; None if it has no number to change."""
    places = _places(text)
    values = sorted({place.value for place in places})
    if not values:
        return None
    percents = [place.value for place in places if _PERCENT.match(text, place.end)]
    if len(percents) > 1 and sum(percents) == 100:
        return Changed(text, "its percentages make up 100")
    if len(values) > 2 and values[-1] == sum(values[:-1]):
        return Changed(text, "its numbers make up another one")
    if len(_TIME.findall(text)) > 1:
        return Changed(text, "it has several times of day")
    most = {place.value: place.most for place in places if place.most is not None}
    new = _draw(values, most, rng)
    if new is None:
        return Changed(text, "no other numbers fit")
    if len(percents) > 1 and sum(percents) < 100 < sum(new[value] for value in percents):
        return Changed(text, "its percentages would make up more than 100")
    parts, at = [], 0
    for place in places:
        parts += [text[at : place.start], str(new[place.value])]
        at = place.end
    return Changed("".join([*parts, text[at:]]), "")


def _places(text: str) -> list[_Place]:
    """The numbers to change, in order."""
    fixed = {0, 1} | {_WORDS[word.group().lower()] for word in _WORD.finditer(text)}
    found: list[_Place] = []
    for number in _NUMBER.finditer(text):
        start, end = number.span()
        digits, before = number.group(), text[max(0, start - 60) : start]
        if _INSIDE.search(before):
            continue
        value = int(digits) if digits.isdigit() and len(digits) <= _LONGEST else 0
        limits = (most for form, most in _IN_A_WHOLE if value <= most and form.match(text, end))
        most = next(limits, None)
        stays = (
            str(value) != digits
            or value == most
            or _FIXED_BEFORE.search(before)
            or _FIXED_AFTER.match(text, end)
            or _CLOCK.match(text, end)
            or (1900 <= value < 2100 and _YEAR.search(before))
        )
        if stays:
            fixed |= _whole_numbers(digits)
        else:
            found.append(_Place(start, end, value, most))
    return [place for place in found if place.value not in fixed]


def _whole_numbers(digits: str) -> set[int]:
    """The whole numbers that a token such as 5, 5.00, 5,000 or 1,2,3 names."""
    if len(digits) > 4 * _LONGEST:
        return set()
    if _GROUPED.fullmatch(digits):
        digits = digits.replace(",", "")
    if digits.startswith("."):
        return set()
    if digits.count(".") == 1 and "," not in digits:
        whole, _, rest = digits.partition(".")
        return set() if rest.strip("0") else {int(whole)}
    return {int(part) for part in re.split("[.,]", digits)}


def _draw(values: list[int], most: dict[int, int], rng: random.Random) -> dict[int, int] | None:
    """Old → new number of as many digits, in the same order; None where the limits leave no others."""
    new: dict[int, int] = {}
    for length in sorted({len(str(value)) for value in values}):
        old = [value for value in values if len(str(value)) == length]
        choices = range(max(2, 10 ** (length - 1)), 10**length)
        for _ in range(_TRIES):
            drawn = dict(zip(old, sorted(rng.sample(choices, len(old))), strict=True))
            if all(o != n and n <= most.get(o, n) for o, n in drawn.items()):
                break
        else:
            return None
        new |= drawn
    return new
