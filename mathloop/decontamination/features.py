"""Features of a problem that survive rephrasing: numbers, content words and formulas, each with a weight.

A rephrased problem keeps its numbers, in digits or words, and its formulas, up to the names of variables; it
keeps some of its words or uses synonyms. The rarer a feature is among math problems, the higher its weight.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from math import sqrt
from typing import NamedTuple

from mathloop.decontamination.normalization import FUNCTIONS, IDEOGRAPHS, KEPT_COMMANDS, compact, normalize
from mathloop.decontamination.stock import without_instructions
from mathloop.decontamination.symbols import CHINESE_NAMES, OPERATORS, PLAIN_OPERATORS, SYMBOL_NAMES
from mathloop.decontamination.tokenization import stem
from mathloop.decontamination.words import (
    CHINESE_DIGITS,
    CHINESE_POWERS,
    SPELLED,
    STOP,
    STOP_CHARACTERS,
    SYNONYMS,
    TENS,
    UNITS,
    number_weight,
    numeral_value,
    word_weight,
)

LONGEST = 6000
"""Characters of a text that are used: a longer statement is not a rephrased problem."""
_PIECE = re.compile(
    rf"\\[a-z]+|\\[%$\[\]()]|\d+(?:\.\d+)*|[{IDEOGRAPHS}]+|[α-ω]|[^\W\d_{IDEOGRAPHS}α-ω]+|[≤⩽≥⩾<>=+\-−–^/|√!×*·%°÷≠$∠△]"
    r"|[,.;:?\n，。；：？]"
)
_ASCII_PIECE = re.compile(r"[a-z]+|\d+(?:\.\d+)*|[,.;:?\n<>=+\-^/|!*%$]|\\(?:[a-z]+|[%$\[\]()])")
"""The same for ASCII, faster."""
# The $ of "$5 each" does not open a formula, unlike the one of "$5 + x$".
_PRICE = re.compile(r"(?<!\\)\$(\d+(?:\.\d+)?)(?=[.,;:?!)]*(?:\s+(?:[a-z]{2}|\(?\$)|\s*\Z))")
_NUMERAL = re.compile(f"[{''.join(CHINESE_DIGITS)}{''.join(CHINESE_POWERS)}]+")
_BREAKS = frozenset(",.;:?\n，。；：？")
_MATH_OPENS, _MATH_CLOSES = ("\\[", "\\("), ("\\]", "\\)")
_WINDOWS = (2, 3, 4)
_NEAR = 3
"""Largest distance, in numbers and words, between a number and a word that belong together."""
_SMALL = ("0", "1", "2")
_REPEATED = (0.0, 1.0, 1.2, 1.3)
"""Factor of a feature's weight by how often it occurs in a text, up to three times."""


@dataclass(frozen=True)
class Features:
    """Feature → its weight in this text, larger where it occurs several times."""

    numbers: dict[str, float]
    words: dict[str, float]
    formulas: dict[str, float]
    line: list[tuple[bool, str]]
    """Numbers (True) and words, in order."""
    order: tuple[str, ...]
    """The numbers larger than two, in order of first occurrence."""

    @cached_property
    def bonds(self) -> dict[str, float]:
        """A number with a nearby word: the thing that is counted, priced or measured."""
        return _bonds(self.line)


def extract(text: str) -> Features:
    """The features of a problem's statement."""
    reader = _Reader()
    plain = compact(normalize(without_instructions(text[:LONGEST])))
    if "$" in plain:
        plain = _PRICE.sub(r"\\$\1", plain)
    reader.read((_ASCII_PIECE if plain.isascii() else _PIECE).findall(plain))
    return Features(
        _weighed(reader.numbers, number_weight),
        _weighed(reader.words, word_weight),
        _weighed(reader.windows, _formula_weight),
        reader.line,
        tuple(dict.fromkeys(name for is_number, name in reader.line if is_number and name not in _SMALL)),
    )


def canonical(number: str) -> str:
    """One spelling of a number: 5 for 05 and 5.0."""
    if number.count(".") == 1:
        number = number.rstrip("0").rstrip(".")
    return number.lstrip("0") or "0"


class _Meaning(NamedTuple):
    """The number that a word spells, and the representative of its synonyms; None where there is none."""

    number: str | None
    word: str | None


_NOTHING = _Meaning(None, None)


class _Reader:
    """Sorts the pieces of a text into numbers, words and windows of formulas, with repetitions."""

    def __init__(self) -> None:
        self.numbers: list[str] = []
        self.words: list[str] = []
        self.windows: list[str] = []
        self.line: list[tuple[bool, str]] = []
        """Numbers (True) and words, in order."""
        self._run: list[str] = []
        """The current formula: numbers, operators, functions, and variables prefixed with @."""
        self._math = False

    def read(self, pieces: list[str]) -> None:
        for place, piece in enumerate(pieces):
            if not self._math and (meaning := _meaning(piece)) is not None:
                if self._run:
                    self._end_run()
                if meaning is not _NOTHING:
                    self._add(meaning)
                continue
            if piece in SYMBOL_NAMES:
                self.words.append(_representative(SYMBOL_NAMES[piece]))
            if piece[0].isdecimal():
                number = canonical(piece)
                self._number(number)
                self._run.append(number)
            elif piece in OPERATORS:
                self._run.append(OPERATORS[piece])
            elif piece in _BREAKS:
                self._end_run()
            elif piece == "$" or piece in _MATH_OPENS or piece in _MATH_CLOSES:
                self._math = piece in _MATH_OPENS or (piece == "$" and not self._math)
                self._end_run()
            elif piece[0] == "\\":
                self._command(piece[1:])
            elif piece[0] > "\u3040":
                self._chinese(piece)
            elif len(piece) > 1:
                self._word(piece, pieces, place)
            elif self._math or piece not in ("a", "i"):
                self._run.append(f"@{piece}")
        self._end_run()

    def _word(self, word: str, pieces: list[str], place: int) -> None:
        if word in FUNCTIONS:
            self._run.append(word)
            self.words.append(word)
        elif self._math and len(word) <= 4:
            self._run += [f"@{letter}" for letter in word]
        else:
            self._end_run()
            if word in TENS:
                self._number(str(TENS[word] + _unit(pieces, place + 1)))
            elif word not in UNITS:
                self._add(_meaning(word) or _NOTHING)
            elif not (UNITS[word] < 10 and _follows_tens(pieces, place)):
                self._number(str(UNITS[word]))

    def _add(self, meaning: _Meaning) -> None:
        number, word = meaning
        if word is not None:
            self.words.append(word)
        if number is not None:
            self.numbers.append(number)
        if number is not None and number not in _SMALL:
            self.line.append((True, number))
        elif word is not None:
            self.line.append((False, word))

    def _number(self, number: str) -> None:
        self.numbers.append(number)
        self.line.append((True, number))

    def _command(self, name: str) -> None:
        name = KEPT_COMMANDS.get(name, "")
        if name in FUNCTIONS:
            self._run.append(name)
            self.words.append(name)
        elif name:
            self._run.append(f"@{name}")

    def _chinese(self, run: str) -> None:
        self._end_run()
        for numeral in _NUMERAL.findall(run):
            if (number := numeral_value(numeral)) is not None:
                self.numbers.append(number)
        if "半" in run:
            self.numbers.append("2")
        self.words += [run[place : place + 2] for place in range(len(run) - 1)]
        self.words += [character for character in run if character not in STOP_CHARACTERS]
        self.words += [_representative(word) for name, word in CHINESE_NAMES.items() if name in run]
        for character in run:
            digit = CHINESE_DIGITS.get(character)
            self.line.append((False, character) if digit is None else (True, str(digit)))

    def _end_run(self) -> None:
        run = self._run
        if not run:
            return
        if len(run) > 1:
            # Only variables and plain operators are not a formula, unless the window is long.
            plain = [piece[0] == "@" or piece in PLAIN_OPERATORS for piece in run]
            for size in _WINDOWS:
                for start in range(len(run) - size + 1):
                    window = run[start : start + size]
                    long = size == _WINDOWS[-1] and any(piece[0] != "@" for piece in window)
                    if long or not all(plain[start : start + size]):
                        self.windows.append(_renamed(window))
        self._run = []


def _renamed(window: list[str]) -> str:
    """The window with its variables numbered in order of occurrence."""
    names: dict[str, str] = {}
    return " ".join(
        names.setdefault(piece, f"@{len(names)}") if piece[0] == "@" else piece for piece in window
    )


def _representative(word: str) -> str:
    short = stem(word)
    return SYNONYMS.get(short, short)


@lru_cache(1 << 16)
def _meaning(piece: str) -> _Meaning | None:
    """The meaning of a plain word; None for a function, a part of a number or anything that is not a word."""
    if len(piece) < 2 or not piece.isalpha() or piece[0] > "\u3040":
        return None
    if piece in FUNCTIONS or piece in UNITS or piece in TENS:
        return None
    number = str(SPELLED[piece]) if piece in SPELLED else None
    if piece in STOP:
        return _Meaning(number, None) if number else _NOTHING
    return _Meaning(number, _representative(piece))


def _unit(pieces: list[str], place: int) -> int:
    """The value of the unit that follows the tens, such as four in fifty-four; 0 without one."""
    if pieces[place : place + 1] == ["-"]:
        place += 1
    unit = UNITS.get(pieces[place], 10) if place < len(pieces) else 10
    return unit if unit < 10 else 0


def _follows_tens(pieces: list[str], place: int) -> bool:
    if place > 1 and pieces[place - 1] == "-":
        place -= 1
    return place > 0 and pieces[place - 1] in TENS


def _bonds(line: list[tuple[bool, str]]) -> dict[str, float]:
    found: dict[str, float] = {}
    for place, (is_number, number) in enumerate(line):
        if is_number:
            for is_other, word in line[max(0, place - _NEAR) : place + _NEAR + 1]:
                if not is_other:
                    found[f"{number} {word}"] = _bond_weight(number, word)
    return found


@lru_cache(1 << 16)
def _bond_weight(number: str, word: str) -> float:
    return sqrt(number_weight(number) * word_weight(word))


def _weighed(names: list[str], weight: Callable[[str], float]) -> dict[str, float]:
    if not names:
        return {}
    return {name: weight(name) * _REPEATED[min(count, 3)] for name, count in Counter(names).items()}


@lru_cache(1 << 16)
def _formula_weight(window: str) -> float:
    weight = 0.0
    for piece in window.split():
        if piece[0].isdecimal():
            weight += 0.1 if piece in ("0", "1", "2") else 0.3
        else:
            weight += 0.2 if piece in FUNCTIONS else 0.1
    return min(weight, 0.9)
