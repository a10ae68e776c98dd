"""Which items a statement may be a rephrasing of, for a whole batch of statements at once.

Another wording keeps the numbers. So a statement is looked up by the set of its numbers that are larger than
two, whether written in digits or words: by the set alone, unless it is a single small number; by the set and
one of its words; with one number left out on either side; and by each rare number. A statement whose numbers
say next to nothing is looked up by pairs of its rarest words. Of most statements little is left for a closer
look.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.answers import differ
from mathloop.decontamination.batches import Arrays
from mathloop.decontamination.lexicon import lexicon, pair_hashes
from mathloop.decontamination.tables import Table
from mathloop.decontamination.tokenization import (
    DIGIT,
    GREEK_LETTER,
    IDEOGRAPH,
    LETTER,
    SINGLE,
    U64,
    Ints,
    Tokens,
    mix,
    stems,
)

LONGEST = 500
"""Tokens; a longer text is not read as the statement of a problem."""
_MOST_NUMBERS = 12
"""More numbers than these are a table, not a set to look for."""
_MOST = 24
"""A key that more items have says too little."""
_RAREST = 8
"""Words that are paired where numbers say next to nothing."""
_LEFT_OUT = 3
"""Where there are at most these many numbers, a set that lacks one is looked for together with a word."""
_RARE_NUMBER, _RARE_WORD, _RARE_PAIR, _FORMULA = 0.85, 0.75, 0.6, 0.4
"""Weights of what the lexicon does not have: numbers, words, pairs of ideographs, formulas."""
_TELLING = 0.5
"""A number that weighs less by itself tells too little."""
_HALF, _FAMILIAR = 512, 0.5
"""Bits of each half of a signature; words that weigh less are in its first half."""
_LOOKED_AT = 6
"""Items that a statement is compared with, word by word."""
_COARSE = (
    (-2.3, 4.08, 2.83, 3.34, -6.68, -1.96),
    (-0.87, 6.65, 0.6, 4.38, -10.66, -2.2),
    (-1.65, 4.09, 1.22, 0.0, 1.16, 0.0),
)
"""Logistic regressions, for pairs without and with formulas on both sides, and without numbers in common:
weights of a constant, the likeness of the words, the weight of common words, that of common numbers, of other
numbers, likeness times numbers. They leave out what `similarity` would hardly accept."""
_A, _B, _C, _D = (
    np.uint64(factor)
    for factor in (0x9FB21C651E98DF25, 0xA24BAED4963EE407, 0x8CB92BA72F3D8DD7, 0xD8163841FDE6A8F9)
)


class Candidates:
    """The search over an index of items."""

    def __init__(self, arrays: Arrays) -> None:
        self._keys, self._frequency = Table.of(arrays, "likeness"), Table.of(arrays, "words")
        self._formulas, self._signatures = arrays["likeness.formulas"], arrays["likeness.signatures"]
        self._word_mass, self._number_mass = arrays["likeness.words"], arrays["likeness.numbers"]
        self._answers = arrays["likeness.answers"]

    @staticmethod
    def build(items: Tokens, answers: npt.NDArray[np.float64]) -> Arrays:
        """The arrays that the search needs: items by key, how many items have a word, what items weigh.

        `answers` [items] are those that are plain numbers, else NaN.
        """
        words, numbers = _words(items), _numbers(items)
        known, counts = np.unique(words.hashes, return_counts=True)
        frequency = Table.build(known, counts)
        keys = _keys(items, words, numbers, frequency, of_items=True)
        return {
            **Table.build(keys.hashes, keys.owners, _MOST).named("likeness"),
            **frequency.named("words"),
            "likeness.formulas": _has_formulas(words, items),
            "likeness.signatures": _signatures(words, items),
            "likeness.words": _mass(words, items),
            "likeness.numbers": _mass(numbers, items),
            "likeness.answers": answers,
        }

    def find(
        self, statements: Tokens, answers: npt.NDArray[np.float64]
    ) -> tuple[Ints, npt.NDArray[np.int32], Ints]:
        """(statement, item) of every pair worth a closer look; of one statement the most alike first.

        `answers` [statements] as in `build`: pairs that differ in them are left out.

        And the statements whose numbers say next to nothing, and that may have formulas.
        """
        words, numbers = _words(statements), _numbers(statements)
        keys = _keys(statements, words, numbers, self._frequency, of_items=False)
        hits, found = self._keys.find(keys.hashes)
        every = np.sort((keys.owners[hits] << 32) | found)
        first = np.flatnonzero(np.diff(every, prepend=-1))
        pairs, count = every[first], np.diff(first, append=len(every))
        texts, items = pairs >> 32, (pairs & 0xFFFFFFFF).astype(np.int32)
        possible = np.flatnonzero(~differ(answers[texts], self._answers[items]))
        texts, items, count = texts[possible], items[possible], count[possible]
        own, wanted = _mass(numbers, statements)[texts], self._number_mass[items]
        masses = _mass(words, statements)[texts] + self._word_mass[items] + 1e-9
        formula = self._formulas[items] & _has_formulas(words, statements)[texts]
        common, apart = np.minimum(own, wanted), np.abs(own - wanted)
        # How many keys agree bounds what the words can say; most pairs end here.
        bound = _score(0, np.minimum(2 * _RARE_WORD * count / masses, 1), _RARE_WORD * count, common, apart)
        kept = np.flatnonzero(formula | (common == 0) | (bound > -3))
        texts, items, common, apart = texts[kept], items[kept], common[kept], apart[kept]
        both = np.bitwise_count(_signatures(words, statements)[texts] & self._signatures[items])
        half = both.shape[1] // 2
        weight = 0.33 * both[:, :half].sum(axis=1) + 0.72 * both[:, half:].sum(axis=1)
        likeness = np.minimum(2 * weight / masses[kept], 1)
        regime = np.where(common == 0, 2, formula[kept])
        score = _score(regime, likeness, weight, common, apart)
        near = np.flatnonzero(score > 0)
        order = near[np.lexsort((items[near], -score[near], texts[near]))]
        rank = np.arange(len(order)) - np.searchsorted(texts[order], texts[order])
        order = order[rank < _LOOKED_AT]
        return texts[order], items[order], unnumbered(statements, numbers)


def unnumbered(statements: Tokens, numbers: _Signs | None = None) -> Ints:
    """Statements whose numbers say next to nothing, and that may have formulas."""
    faint = _faint(numbers or _numbers(statements), len(statements.offsets) - 1)
    variables = statements.texts(np.flatnonzero(_variables(statements)))
    several = np.bincount(variables, minlength=len(faint)) > 1
    return np.flatnonzero(faint & several & (np.diff(statements.offsets) <= LONGEST))


def _score(
    regime: int | Ints,
    likeness: npt.NDArray[np.float64],
    weight: npt.NDArray[np.float64],
    common: npt.NDArray[np.float64],
    apart: npt.NDArray[np.float64],
) -> npt.NDArray[np.float64]:
    """[pairs] Positive where a closer look is worth it; `regime`: the place in `_COARSE`."""
    constant, *weights = np.moveaxis(np.array(_COARSE)[regime], -1, 0)
    traits = (likeness, np.log1p(weight), np.log1p(common), np.log1p(apart), likeness * common)
    return np.asarray(constant + sum(each * trait for each, trait in zip(weights, traits, strict=True)))


def _has_formulas(words: _Signs, tokens: Tokens) -> npt.NDArray[np.bool_]:
    """[texts] Whether each text has a formula."""
    return np.bincount(words.owners, words.weights == _FORMULA, len(tokens.offsets) - 1) > 0


def _signatures(words: _Signs, tokens: Tokens) -> U64:
    """[texts, 16] A bit for each word, familiar ones in the first half; few words share one."""
    bits = np.zeros((len(tokens.offsets) - 1, 2 * _HALF), bool)
    bits[
        words.owners, (words.hashes >> np.uint64(55)).astype(np.int64) + _HALF * (words.weights > _FAMILIAR)
    ] = True
    return np.packbits(bits, axis=1).view(np.uint64)


def _mass(signs: _Signs, tokens: Tokens) -> npt.NDArray[np.float64]:
    """[texts] What each text's signs weigh together."""
    return np.bincount(signs.owners, signs.weights, len(tokens.offsets) - 1).astype(np.float64)


class _Signs(NamedTuple):
    """Hashes of what texts have."""

    owners: Ints
    """[signs] The text that each belongs to."""
    hashes: U64
    weights: npt.NDArray[np.float64]


def _keys(tokens: Tokens, words: _Signs, signs: _Signs, frequency: Table, *, of_items: bool) -> _Signs:
    """The keys by which each text is found, or by which it looks; their weights are those of their words."""
    texts = len(tokens.offsets) - 1
    owners, numbers, _ = signs
    counts = np.bincount(owners, minlength=texts)
    ends = np.cumsum(counts)
    running = np.concatenate((np.zeros(1, np.uint64), np.cumsum(mix(numbers), dtype=np.uint64)))
    sets = running[ends] - running[ends - counts]
    readable = (np.diff(tokens.offsets) <= LONGEST) & (counts <= _MOST_NUMBERS)
    found: list[_Signs] = []

    def add(own: Ints, hashes: U64, weights: npt.NDArray[np.float64] | float = 0.0) -> None:
        found.append(_Signs(own, mix(hashes), np.broadcast_to(weights, own.shape)))

    several = np.flatnonzero(readable & (counts > 1))
    rare = np.flatnonzero(readable[owners] & (signs.weights >= _RARE_NUMBER))
    add(owners[rare], numbers[rare] + _C)
    alone = np.flatnonzero(readable & (counts == 1))
    alone = alone[signs.weights[ends[alone] - 1] >= _TELLING]
    add(alone, sets[alone] + _A)
    add(several, sets[several] + _A)
    if not of_items:  # an item's number that the statement lacks
        add(several, sets[several] + _B)
    place = np.flatnonzero(readable[owners] & (counts[owners] > 2))
    add(owners[place], sets[owners[place]] - mix(numbers[place]) + (_B if of_items else _A))

    some = readable[words.owners] & (counts[words.owners] > 0)
    own, said, weights = words.owners[some], words.hashes[some], words.weights[some]
    add(own, sets[own] * _C + said, weights)
    if not of_items:
        add(own, sets[own] * _D + said, weights)
    for back in range(1, _LEFT_OUT + 1):
        few = np.flatnonzero((counts[own] >= max(2, back)) & (counts[own] <= _LEFT_OUT))
        without = sets[own[few]] - mix(numbers[ends[own[few]] - back])
        add(own[few], without * (_D if of_items else _C) + said[few], weights[few])

    none = readable[words.owners] & _faint(signs, texts)[words.owners]
    said_alone = _Signs(words.owners[none], words.hashes[none], words.weights[none])
    found.append(_word_pairs(said_alone, frequency))
    return _Signs(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _faint(numbers: _Signs, texts: int) -> npt.NDArray[np.bool_]:
    """[texts] Whether a text's numbers say next to nothing: it has none, or one up to ten."""
    return np.bincount(numbers.owners, np.where(numbers.weights < _TELLING, 1, 2), texts) < 2


def _numbers(tokens: Tokens) -> _Signs:
    """Each text's distinct numbers that are larger than two, by text."""
    spelled = lexicon()
    digits = np.flatnonzero(tokens.kinds == DIGIT)
    places, values = spelled.numbers.find(tokens.hashes)
    numbers = spelled.values[values]
    tens = np.flatnonzero(spelled.is_tens[values[:-1]] & spelled.is_unit[values[1:]] & (np.diff(places) == 1))
    if len(tens):  # fifty four is one number
        numbers[tens] = spelled.compounds[values[tens], values[tens + 1]]
        keep = np.ones(len(places), bool)
        keep[tens + 1] = False
        places, numbers = places[keep], numbers[keep]
    places, numbers = np.concatenate((digits, places)), np.concatenate((tokens.hashes[digits], numbers))
    large = ~np.isin(numbers, spelled.small)
    owners, numbers = tokens.texts(places[large]), numbers[large]
    order = np.lexsort((numbers, owners))
    owners, numbers = owners[order], numbers[order]
    new = _changes(owners, numbers)
    owners, numbers = owners[new], numbers[new]
    weights = np.full(len(numbers), _RARE_NUMBER)
    places, values = spelled.counted.find(numbers)
    weights[places] = spelled.counted_weights[values]
    return _Signs(owners, numbers, weights)


def _words(tokens: Tokens) -> _Signs:
    """Each text's words, pairs of ideographs, and formulas with every variable read alike; once, by text."""
    kinds, said_as, known = tokens.kinds, stems(tokens), lexicon()
    ideographs = kinds == IDEOGRAPH
    pairs = np.flatnonzero(ideographs[1:] & ideographs[:-1])
    said_as[pairs] = pair_hashes(tokens.hashes[pairs], tokens.hashes[pairs + 1])
    said = kinds == LETTER
    said[pairs] = True
    weights = np.where(ideographs, _RARE_PAIR, _RARE_WORD)
    places, values = known.words.find(said_as)
    said_as[places], weights[places] = known.stands_for[values], known.weights[values]
    said &= said_as != 0
    digits = kinds == DIGIT
    variables = _variables(tokens)
    formula = np.where(variables, _A, tokens.hashes).astype(np.uint64)
    member = digits | variables
    windows = np.flatnonzero(
        member[2:] & member[1:-1] & member[:-2] & (digits[2:] | digits[1:-1] | digits[:-2])
    )
    places = np.concatenate((np.flatnonzero(said), windows))
    grams = mix(formula[windows] * _B + formula[windows + 1] * _C + formula[windows + 2])
    hashes = np.concatenate((said_as[said], grams))
    weights = np.concatenate((weights[said], np.full(len(windows), _FORMULA)))
    owners = tokens.texts(places)
    # By text, then by most bits of the hash: one key sorts many times faster than two.
    order = np.argsort((owners.astype(np.uint64) << np.uint64(40)) | (hashes >> np.uint64(24)))
    owners, hashes, weights = owners[order], hashes[order], weights[order]
    new = _changes(owners, hashes)
    return _Signs(owners[new], hashes[new], weights[new])


def _variables(tokens: Tokens) -> npt.NDArray[np.bool_]:
    """[tokens] Letters by themselves, but for articles."""
    articles = (tokens.kinds == SINGLE) & np.isin(tokens.hashes, lexicon().articles)
    return np.asarray((tokens.kinds >= GREEK_LETTER) & ~articles)


def _word_pairs(words: _Signs, frequency: Table) -> _Signs:
    """Every two of each text's rarest words."""
    places, counts = frequency.find(words.hashes)
    order = np.lexsort((words.hashes[places], counts, words.owners[places]))
    places = places[order]
    owners = words.owners[places]
    places = places[np.arange(len(owners)) - np.searchsorted(owners, owners) < _RAREST]
    owners, hashes, weights = words.owners[places], words.hashes[places], words.weights[places]
    found = [_Signs(owners[:0], hashes[:0], weights[:0])]
    for apart in range(1, _RAREST):
        both = np.flatnonzero(owners[apart:] == owners[:-apart])
        # The sum knows no order; mixed, it is not that of two other words.
        keys = mix(mix(hashes[both]) + mix(hashes[both + apart]))
        found.append(_Signs(owners[both], keys, (weights[both] + weights[both + apart]) / 2))
    return _Signs(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _changes(owners: Ints, hashes: U64) -> npt.NDArray[np.bool_]:
    """[signs] Whether a sorted sign differs from the one before."""
    new = np.ones(len(owners), bool)
    new[1:] = (owners[1:] != owners[:-1]) | (hashes[1:] != hashes[:-1])
    return new
