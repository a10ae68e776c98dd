"""The numbers, words and formulas of a batch of texts, as hashes with weights."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.hashing import U64, Ints, hash_token, mix
from mathloop.decontamination.lexicon import lexicon, pair_hashes
from mathloop.decontamination.tokenization import DIGIT, GREEK_LETTER, IDEOGRAPH, LETTER, Tokens, stems
from mathloop.decontamination.words import numeral_value

_RARE_PAIR, FORMULA = 0.6, 0.4
"""Weights of pairs of ideographs that are not in the lexicon, and of formulas."""
_VARIABLE, _FIRST, _SECOND = (
    np.uint64(factor) for factor in (0x9FB21C651E98DF25, 0xA24BAED4963EE407, 0x8CB92BA72F3D8DD7)
)
"""Placeholder for any variable; odd factors for a formula's first two tokens."""


class HashedFeatures(NamedTuple):
    """Features of a batch of texts: a text, a hash and a weight per feature."""

    owners: Ints
    """[features] The text that each belongs to."""
    hashes: U64
    weights: npt.NDArray[np.float64]


def numbers_of(tokens: Tokens) -> HashedFeatures:
    """Each text's distinct numbers larger than two, sorted by text."""
    spelled = lexicon()
    digits = np.flatnonzero(tokens.kinds == DIGIT)
    values = spelled.numbers.find(tokens.hashes)
    places = np.flatnonzero(values > 0)
    values = values[places]
    numbers = spelled.values[values]
    tens = np.flatnonzero(spelled.is_tens[values[:-1]] & spelled.is_unit[values[1:]] & (np.diff(places) == 1))
    tens = tens[_followed(tokens)[places[tens]]]
    if len(tens):  # fifty four is one number
        numbers[tens] = spelled.compounds[values[tens], values[tens + 1]]
        keep = np.ones(len(places), bool)
        keep[tens + 1] = False
        places, numbers = places[keep], numbers[keep]
    chinese, chinese_values = _chinese_numbers(tokens)
    places = np.concatenate((digits, places, chinese))
    numbers = np.concatenate((tokens.hashes[digits], numbers, chinese_values))
    weights = spelled.counted_weights[spelled.counted.find(numbers)]
    large = np.flatnonzero(weights > 0)
    owners, numbers, weights = tokens.texts(places[large]), numbers[large], weights[large]
    order = np.lexsort((numbers, owners))
    owners, numbers, weights = owners[order], numbers[order], weights[order]
    new = _changes(owners, numbers)
    return HashedFeatures(owners[new], numbers[new], weights[new])


def _chinese_numbers(tokens: Tokens) -> tuple[Ints, U64]:
    """Where Chinese numerals begin, and the value of each."""
    is_numeral = (tokens.kinds == IDEOGRAPH) & np.isin(tokens.hashes, lexicon().numerals)
    places = np.flatnonzero(is_numeral)
    found: list[tuple[int, int]] = []
    if len(places):
        together = (np.diff(places) == 1) & _followed(tokens)[places[:-1]]
        for run in np.split(places, np.flatnonzero(~together) + 1):
            number = numeral_value("".join(map(tokens.word, run.tolist())))
            if number is not None:
                found.append((int(run[0]), hash_token(number)))
    return np.array([place for place, _ in found], np.int64), np.array([own for _, own in found], np.uint64)


def _followed(tokens: Tokens) -> npt.NDArray[np.bool_]:
    """[tokens] Whether another token of the same text follows."""
    followed = np.ones(len(tokens.hashes), bool)
    ends = tokens.offsets[1:] - 1
    followed[ends[ends >= 0]] = False
    return followed


def words_of(tokens: Tokens, variables: npt.NDArray[np.bool_]) -> HashedFeatures:
    """Each text's distinct words, pairs of ideographs, and formulas with all variables equal, by text."""
    kinds, words, vocabulary = tokens.kinds, stems(tokens), lexicon()
    ideographs = kinds == IDEOGRAPH
    followed = _followed(tokens)
    pairs = np.flatnonzero(ideographs[1:] & ideographs[:-1] & followed[:-1])
    words[pairs] = pair_hashes(tokens.hashes[pairs], tokens.hashes[pairs + 1])
    is_word = kinds == LETTER
    is_word[pairs] = True
    found = vocabulary.words.find(words)
    weights = vocabulary.weights[found]
    weights[ideographs & (found == 0)] = _RARE_PAIR
    words = np.where(found > 0, vocabulary.representatives[found], words)
    is_word &= words != 0
    digits = kinds == DIGIT
    formula = np.where(variables, _VARIABLE, tokens.hashes).astype(np.uint64)
    member = digits | variables
    windows = np.flatnonzero(
        member[2:]
        & member[1:-1]
        & member[:-2]
        & (digits[2:] | digits[1:-1] | digits[:-2])
        & followed[:-2]
        & followed[1:-1]
    )
    places = np.concatenate((np.flatnonzero(is_word), windows))
    grams = mix(formula[windows] * _FIRST + formula[windows + 1] * _SECOND + formula[windows + 2])
    hashes = np.concatenate((words[is_word], grams))
    weights = np.concatenate((weights[is_word], np.full(len(windows), FORMULA)))
    owners = tokens.texts(places)
    # By text, then by the upper bits of the hash: sorting by one key is many times faster than by two.
    order = np.argsort((owners.astype(np.uint64) << np.uint64(40)) | (hashes >> np.uint64(24)))
    owners, hashes, weights = owners[order], hashes[order], weights[order]
    new = _changes(owners, hashes)
    return HashedFeatures(owners[new], hashes[new], weights[new])


def variables_of(tokens: Tokens) -> npt.NDArray[np.bool_]:
    """[tokens] Whether each is a single letter other than an article."""
    variables = tokens.kinds >= GREEK_LETTER
    for article in lexicon().articles:
        variables &= tokens.hashes != article
    return np.asarray(variables)


def _changes(owners: Ints, hashes: U64) -> npt.NDArray[np.bool_]:
    """[features] Whether each sorted feature differs from the one before."""
    new = np.ones(len(owners), bool)
    new[1:] = (owners[1:] != owners[:-1]) | (hashes[1:] != hashes[:-1])
    return new
