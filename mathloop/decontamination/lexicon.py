"""The vocabulary of `words` as hashes, so that a batch of tokens is looked up at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.hashing import U64, hash_token, mix
from mathloop.decontamination.tables import Vocabulary
from mathloop.decontamination.tokenization import stem
from mathloop.decontamination.words import (
    CHINESE_DIGITS,
    CHINESE_POWERS,
    COMMON,
    COMMON_CHINESE,
    FAMILIAR,
    SPELLED,
    STOP,
    SYNONYMS,
    TENS,
    UNITS,
    number_weight,
    word_weight,
)

_COUNTED = 1000
RARE_NUMBER, _RARE_WORD = 0.85, 0.75
"""Weights of numbers and words that are not in the lexicon."""
_SMALL = ("0", "00", "1", "2")


@dataclass(frozen=True)
class Lexicon:
    """Maps token hashes to numbers, words and weights."""

    numbers: Vocabulary
    """Token → index into the arrays below, whose first entry means none."""
    values: U64
    """The number, as a token."""
    is_tens: npt.NDArray[np.bool_]
    is_unit: npt.NDArray[np.bool_]
    compounds: U64
    """[tens, unit] The number that both form together."""
    numerals: U64
    """Chinese numerals."""
    counted: Vocabulary
    """Whole number below 1000, as a token → index into the array below, whose first entry means none."""
    counted_weights: npt.NDArray[np.float64]
    """How informative the number is; 0 for those that rephrasing adds or loses: once, twice, a pair."""
    articles: U64
    """Letters that are words: a and I."""
    words: Vocabulary
    """Stem or pair of ideographs → index into the arrays below, whose first entry means none."""
    representatives: U64
    """The representative of its synonyms, or 0 for a stop word."""
    weights: npt.NDArray[np.float64]
    """How informative the word is."""


@cache
def lexicon() -> Lexicon:
    """The lexicon, built once per process."""
    spelled = [("", 0), *(SPELLED | UNITS | TENS).items()]
    count = len(spelled)
    compounds = np.zeros((count, count), np.uint64)
    for row, (tens, value) in enumerate(spelled):
        for column, (unit, more) in enumerate(spelled):
            if tens in TENS and unit in UNITS and 0 < more < 10:
                compounds[row, column] = hash_token(str(value + more))
    counted = [*_SMALL, *map(str, range(3, _COUNTED))]
    words = {word: word for word in (*COMMON, *FAMILIAR)} | SYNONYMS
    words |= {stem(word): "" for word in (*STOP, *UNITS, *TENS)}
    pairs = sorted(COMMON_CHINESE)
    ideographs = [_hashes(pair[place] for pair in pairs) for place in (0, 1)]
    keys = np.concatenate((_hashes(words), pair_hashes(*ideographs)))
    return Lexicon(
        numbers=Vocabulary.build(_hashes(word for word, _ in spelled[1:])),
        values=_hashes(str(value) for _, value in spelled),
        is_tens=np.array([word in TENS for word, _ in spelled]),
        is_unit=np.array([word in UNITS and 0 < value < 10 for word, value in spelled]),
        compounds=compounds,
        numerals=_hashes((*CHINESE_DIGITS, *CHINESE_POWERS)),
        counted=Vocabulary.build(_hashes(counted)),
        counted_weights=np.array(
            [RARE_NUMBER, *(0.0 if number in _SMALL else number_weight(number) for number in counted)]
        ),
        articles=_hashes(("a", "i")),
        words=Vocabulary.build(keys),
        representatives=np.concatenate((_hashes(("", *words.values())), keys[len(words) :])),
        weights=np.array(
            [_RARE_WORD, *(word_weight(word) if word else 0.0 for word in (*words.values(), *pairs))]
        ),
    )


def pair_hashes(left: U64, right: U64) -> U64:
    """[pairs] The hash of a pair of ideographs."""
    return mix(left * np.uint64(0xA24BAED4963EE407) + right)


def _hashes(tokens: Iterable[str]) -> U64:
    return np.array([hash_token(token) for token in tokens], np.uint64)
