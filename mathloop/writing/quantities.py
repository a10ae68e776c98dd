"""The numbers and words of a statement, as checks of operations compare them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

_NUMBER = re.compile(r"\d+(?:,\d{3})+(?![\d])(?:\.\d+)?|\d+(?:\.\d+)?")
_TOKEN = re.compile(r"[\u4e00-\u9fff]|[^\W_]+")
_NUMERALS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
sixteen seventeen eighteen nineteen twenty"""
_ENGLISH = _NUMERALS.split()
_CHINESE = "零一二三四五六七八九十"
_OTHER_WORDS = {
    1: r"\b(?:an?|once|single)\b",
    2: r"\b(?:twice|double|both|couple|pair|half)\b|[两半双倍]",
    3: r"\b(?:triple|thrice)\b",
}
_WORDS = """a an and are as at be by do did does each for from has have he her his how if in is it its many
more much of on or per she than that the their then there they this to was were what when which who will
with"""
_FREQUENT = frozenset(_WORDS.split())


def quantities(text: str) -> Counter[str]:
    """The numbers in figures, without commas and trailing zeros: 1,000.50 is 1000.5."""
    return Counter(_plain(found) for found in _NUMBER.findall(text))


def same_quantities(one: str, other: str) -> bool:
    """Whether each text has the other's numbers; a small one may stand there in words: 2, two, twice, 两."""
    first, second = quantities(one), quantities(other)
    return _covered(first - second, other) and _covered(second - first, one)


def tokens(text: str) -> list[str]:
    """Words in lower case and Chinese characters, in order; numbers are words."""
    return [found.group().lower() for found in _TOKEN.finditer(text)]


def content_words(text: str) -> frozenset[str]:
    """The tokens without numbers and the most frequent English words."""
    return frozenset(word for word in tokens(text) if word not in _FREQUENT and not word[0].isdigit())


def common_share(one: str, other: str) -> float:
    """Dice coefficient of two texts' tokens, 0 to 1; each occurrence counts."""
    first, second = Counter(tokens(one)), Counter(tokens(other))
    total = first.total() + second.total()
    return 2 * (first & second).total() / total if total else 1.0


def _plain(number: str) -> str:
    number = number.replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number else number


def _covered(missing: Counter[str], text: str) -> bool:
    return all(any(re.search(word, text, re.IGNORECASE) for word in _words(number)) for number in missing)


def _words(number: str) -> Iterator[str]:
    if not number.isdecimal() or len(number) > 2 or int(number) > 20:
        return
    value = int(number)
    yield rf"\b{_ENGLISH[value]}\b"
    if value <= 10:
        yield _CHINESE[value]
    elif value < 20:
        yield f"十{_CHINESE[value - 10]}"
    else:
        yield "二十"
    if value in _OTHER_WORDS:
        yield _OTHER_WORDS[value]
