"""Whether the parts of a statement fit together: a check on the text alone, without an answer or a solver.

It is strict: of problems that people wrote it drops some too, such as one with boys and girls that asks how
many children there are. Hence it is a setting, for writers whose texts often fall apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

STRANGER = "not self-contained: it compares with somebody of whom it says nothing"
_ASKED = re.compile(
    r"\bhow many (?:(?:more|fewer|total|new|other|additional|of the) )?([a-z]+)", re.IGNORECASE
)
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
_ENDING = re.compile(r"(?:ies|es|s|y)$")
_NOT_COUNTED_WORDS = """
are aren can could did do does fewer had has have he in is it more of on she should the
they time times was way ways were will would you
second seconds minute minutes hour hours day days week weeks month months year years
cent cents dollar dollars pound pounds gram grams kilogram kilograms ounce ounces ton tons
centimeter centimeters meter meters kilometer kilometers inch inches foot feet yard yards mile miles
liter liters milliliter milliliters gallon gallons cup cups square cubic degrees digits
percent percentage dozen dozens pair pairs"""
_NOT_COUNTED = frozenset(_NOT_COUNTED_WORDS.split())
"""Words after "how many" that name no counted thing of a story: verbs, units of measure, time and money."""
_SENTENCE = re.compile(r"[.。?？!！]\s*")
_WITH_ITSELF = (
    re.compile(r"^([A-Z][a-z]+) .*\b(?:than|gives|gave|sends|sent|to) \1\b"),
    re.compile(r"(小[\u4e00-\u9fff])(?![妈爸爷奶的和与])[^小]*[给比是]\1(?![妈爸爷奶])"),
)
_MORE_THAN_ITSELF = (
    re.compile(r"\b([A-Z][a-z]+) (\w+) \d[^.]*\. \1 \2 \d+ (?:more|fewer|less|times)\b(?! than)"),
    re.compile(
        r"(小[\u4e00-\u9fff])[\u4e00-\u9fff]\d[^。，]*，\1(?:[多少][\u4e00-\u9fff]?\d|[\u4e00-\u9fff]\d+倍)"
    ),
)
_OWNED = re.compile(r"[比是](小[\u4e00-\u9fff])的")
_CHINESE = re.compile(r"[\u4e00-\u9fff]")
_FORMULA = re.compile(r"\$[^$]*\$|\\[A-Za-z]+|\\\(.*?\\\)")
_LATIN_WORD = re.compile(r"[A-Za-z]{4}")


def inconsistent(statement: str) -> str:
    """Why the parts of the statement do not fit together; empty if nothing is seen.

    It finds a question for things that are named nowhere else, somebody who is compared with himself or gives
    himself something, and a Chinese sentence with foreign words.
    """
    if _asks_for_another(statement):
        return "inconsistent: it asks for something that it does not mention"
    sentences = _SENTENCE.split(statement)
    if any(pattern.search(sentence) for pattern in _WITH_ITSELF for sentence in sentences) or any(
        pattern.search(statement) for pattern in _MORE_THAN_ITSELF
    ):
        return "inconsistent: somebody is compared with himself or gives himself something"
    if names_once(statement, _OWNED.findall(statement)):
        return STRANGER
    if _CHINESE.search(statement) and _LATIN_WORD.search(_FORMULA.sub("", statement)):
        return "inconsistent: it is in two languages"
    return ""


def names_once(statement: str, names: Iterable[str]) -> bool:
    """Whether the statement has one of the names in a single place."""
    return any(statement.count(name) < 2 for name in names)


def _asks_for_another(statement: str) -> bool:
    for found in _ASKED.finditer(statement):
        thing = found[1].lower()
        if thing in _NOT_COUNTED:
            continue
        elsewhere = _WORD.findall(statement[: found.start()] + statement[found.end() :])
        if _stem(thing) not in {_stem(word.lower()) for word in elsewhere}:
            return True
    return False


def _stem(word: str) -> str:
    return _ENDING.sub("", word)
