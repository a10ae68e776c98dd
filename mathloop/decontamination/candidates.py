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

from mathloop.decontamination.answers import Values, rule_out
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

LONGEST = 1000
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
_FAMILIAR, _COMMONPLACE = 0.5, 0.45
"""Words, and numbers, that weigh less have bits of their own in a sketch."""
_BITS = (512, 512, 256, 128, 128)
"""Bits of a sketch: for familiar words, other words, formulas, commonplace numbers, other numbers."""
_WEIGHTS = (0.33, 0.72, 1.0, 0.33, 0.65)
"""What one of them in common weighs, about."""
_LOOKED_AT = 8
"""Items that a statement is compared with, word by word."""
_COARSE = (
    (-6.79, 4.21, 3.24, 7.55, -4.15, -2.59, 4.82, 7.67, -1.65),
    (-2.50, 2.58, 2.57, 5.70, -6.17, -4.07, 4.78, 4.12, 0.10),
)
"""Logistic regressions, for pairs of which not both, or both, are symbolic: weights of the traits of `_score`.
They leave out what `similarity` would hardly accept."""
_A, _B, _C, _D = (
    np.uint64(factor)
    for factor in (0x9FB21C651E98DF25, 0xA24BAED4963EE407, 0x8CB92BA72F3D8DD7, 0xD8163841FDE6A8F9)
)


class Candidates:
    """The search over an index of items."""

    def __init__(self, arrays: Arrays) -> None:
        self._keys, self._frequency = Table.of(arrays, "likeness"), Table.of(arrays, "words")
        self._rare, self._answers = Table.of(arrays, "rare"), arrays["likeness.answers"]
        self._sketches = _Sketches(*(arrays[f"sketches.{name}"] for name in _Sketches._fields))

    @staticmethod
    def build(items: Tokens, answers: Values) -> Arrays:
        """The arrays that the search needs: items by key, how many items have a word, sketches of the items.

        `answers` [items, 4] are the items' `possible_values`.
        """
        words, numbers = _words(items), _numbers(items)
        known, counts = np.unique(words.hashes, return_counts=True)
        frequency = Table.build(known, counts)
        sketches = _sketches(items, words, numbers)
        keys = _keys(items, words, numbers, sketches.symbolic, frequency, of_items=True)
        return {
            **Table.build(keys.hashes, keys.owners, _MOST).named("likeness"),
            **Table.build(words.hashes, words.owners, _MOST).named("rare"),
            **frequency.named("words"),
            **{f"sketches.{name}": array for name, array in sketches._asdict().items()},
            "likeness.answers": answers,
        }

    def find(self, statements: Tokens, answers: Values) -> tuple[Ints, npt.NDArray[np.int32], Ints]:
        """(statement, item) of every pair worth a closer look; of one statement the most alike first.

        `answers` [statements] are the statements' `values`; pairs that they rule out are left out.

        And the statements whose numbers say next to nothing, and that may have formulas.
        """
        words, numbers = _words(statements), _numbers(statements)
        sketches = _sketches(statements, words, numbers)
        texts, items, count = self._pairs(statements, words, numbers, sketches.symbolic)
        possible = np.flatnonzero(~rule_out(answers[texts], self._answers[items]))
        ours, theirs = sketches.of(texts[possible]), self._sketches.of(items[possible])
        kept = np.flatnonzero(_worth(ours, theirs, count[possible]))
        texts, items = texts[possible[kept]], items[possible[kept]]
        score = _score(sketches.of(texts), self._sketches.of(items))
        near = np.flatnonzero(score > 0)
        order = near[np.lexsort((items[near], -score[near], texts[near]))]
        rank = np.arange(len(order)) - np.searchsorted(texts[order], texts[order])
        order = order[rank < _LOOKED_AT]
        return texts[order], items[order], unnumbered(statements, numbers)

    def _pairs(
        self, statements: Tokens, words: _Signs, numbers: _Signs, symbolic: npt.NDArray[np.bool_]
    ) -> tuple[Ints, npt.NDArray[np.int32], Ints]:
        """(statement, item) of all that have a key in common, and how many they have."""
        keys = _keys(statements, words, numbers, symbolic, self._frequency, of_items=False)
        hits, found = self._keys.find(keys.hashes)
        said = np.flatnonzero(symbolic[words.owners])
        places, more = self._rare.find(words.hashes[said])
        owners = np.concatenate((keys.owners[hits], words.owners[said[places]]))
        every = np.sort((owners << 32) | np.concatenate((found, more)))
        first = np.flatnonzero(np.diff(every, prepend=-1))
        pairs = every[first]
        return pairs >> 32, (pairs & 0xFFFFFFFF).astype(np.int32), np.diff(first, append=len(every))


def unnumbered(statements: Tokens, numbers: _Signs | None = None) -> Ints:
    """Statements whose numbers say next to nothing, and that may have formulas."""
    faint = _faint(numbers or _numbers(statements), len(statements.offsets) - 1)
    variables = statements.texts(np.flatnonzero(_variables(statements)))
    several = np.bincount(variables, minlength=len(faint)) > 1
    return np.flatnonzero(faint & several & (np.diff(statements.offsets) <= LONGEST))


class _Sketches(NamedTuple):
    """What is kept of texts to compare many of them at once."""

    bits: U64
    """[texts, 24] A bit for each sign, by its kind; few signs share one."""
    masses: npt.NDArray[np.float32]
    """[texts, 3] What a text's words, formulas and numbers weigh together."""
    symbolic: npt.NDArray[np.bool_]
    """[texts] Whether it has two variables, or is in Chinese: then its words are not all that it says."""

    def of(self, places: Ints | npt.NDArray[np.int32]) -> _Sketches:
        """Those of the texts at `places`."""
        return _Sketches(self.bits[places], self.masses[places], self.symbolic[places])


def _sketches(tokens: Tokens, words: _Signs, numbers: _Signs) -> _Sketches:
    texts = len(tokens.offsets) - 1
    starts = np.concatenate(([0], np.cumsum(_BITS)))
    formula = words.weights == _FORMULA
    kinds = np.where(formula, 2, (words.weights > _FAMILIAR).astype(np.int64))
    bits = np.zeros((texts, int(starts[-1])), bool)
    for signs, kind in ((words, kinds), (numbers, 3 + (numbers.weights > _COMMONPLACE))):
        size = np.array(_BITS, np.uint64)[kind]
        bits[
            signs.owners,
            starts[kind] + (signs.hashes >> np.uint64(40)).astype(np.int64) % size.astype(np.int64),
        ] = True
    weights = np.where(tokens.kinds == IDEOGRAPH, 2, _variables(tokens))
    sums = np.concatenate(([0], np.cumsum(weights)))
    masses = (
        np.bincount(words.owners, words.weights * ~formula, texts),
        np.bincount(words.owners, formula, texts),
        np.bincount(numbers.owners, numbers.weights, texts),
    )
    return _Sketches(
        np.packbits(bits, axis=1).view(np.uint64),
        np.stack(masses, axis=1).astype(np.float32),
        sums[tokens.offsets[1:]] - sums[tokens.offsets[:-1]] > 1,
    )


def _worth(ours: _Sketches, theirs: _Sketches, count: Ints) -> npt.NDArray[np.bool_]:
    return np.ones(len(count), bool)


def _score(ours: _Sketches, theirs: _Sketches) -> npt.NDArray[np.float64]:
    """[pairs] Positive where a closer look is worth it."""
    traits = _traits(ours, theirs)
    weights = np.array(_COARSE)[(ours.symbolic & theirs.symbolic).astype(np.int64)]
    return np.asarray((traits * weights).sum(axis=1))


def _traits(ours: _Sketches, theirs: _Sketches) -> npt.NDArray[np.float64]:
    """[pairs, 9]"""
    both = np.bitwise_count(ours.bits & theirs.bits)
    ends = np.cumsum(_BITS) // 64
    shared = [
        weight * both[:, end - size // 64 : end].sum(axis=1)
        for weight, end, size in zip(_WEIGHTS, ends, _BITS, strict=True)
    ]
    words, formulas, numbers = shared[0] + shared[1], shared[2], shared[3] + shared[4]
    sums = ours.masses + theirs.masses
    similar = np.minimum(2 * words / (sums[:, 0] + 1e-3), 1)
    alike = np.minimum(2 * formulas / (sums[:, 1] + 1e-3), 1)
    numbers = np.minimum(numbers, np.minimum(ours.masses[:, 2], theirs.masses[:, 2]))
    agreement = (numbers + 0.3) / (sums[:, 2] / 2 + 0.3)
    return np.stack(
        (
            np.ones(len(words)),
            similar,
            np.log1p(words),
            np.log1p(numbers),
            np.log1p(theirs.masses[:, 2] - numbers),
            np.log1p(ours.masses[:, 2] - numbers),
            agreement * similar,
            alike,
            np.log1p(formulas),
        ),
        axis=1,
    )


class _Signs(NamedTuple):
    """Hashes of what texts have."""

    owners: Ints
    """[signs] The text that each belongs to."""
    hashes: U64
    weights: npt.NDArray[np.float64]


def _keys(
    tokens: Tokens,
    words: _Signs,
    signs: _Signs,
    symbolic: npt.NDArray[np.bool_],
    frequency: Table,
    *,
    of_items: bool,
) -> _Signs:
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

    paired = _faint(signs, texts) | symbolic
    none = readable[words.owners] & paired[words.owners]
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
