"""Which items a statement may be a rephrasing of, for a whole batch of statements at once.

Another wording keeps the numbers. So a statement is looked up by the set of its numbers that are larger than
two, whether written in digits or words: by the set alone, unless it is a single small number; by the set and
one of its words; with one number left out on either side; and by each rare number. A statement whose numbers
say next to nothing is looked up by pairs of its rarest words. Of most statements little is left for a closer
look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.answers import Values, rule_out, values
from mathloop.decontamination.batches import Arrays
from mathloop.decontamination.lexicon import RARE_NUMBER, lexicon, pair_hashes
from mathloop.decontamination.tables import Table, expand
from mathloop.decontamination.tokenization import (
    DIGIT,
    GREEK_LETTER,
    IDEOGRAPH,
    LETTER,
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
_RARE_PAIR, _FORMULA = 0.6, 0.4
"""Weights of pairs of ideographs that the lexicon does not have, and of formulas."""
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
    (-5.71, 2.82, 2.43, 7.21, -6.29, -3.78, 4.09, 5.80, -0.95),
    (-0.88, 1.64, 2.43, 3.50, -8.09, -5.32, 3.30, 1.91, 0.93),
)
"""Logistic regressions on `_traits`, for pairs of which not both are symbolic, and for the others. They leave
out what `similarity` would hardly accept."""
_A, _B, _C, _D = (
    np.uint64(factor)
    for factor in (0x9FB21C651E98DF25, 0xA24BAED4963EE407, 0x8CB92BA72F3D8DD7, 0xD8163841FDE6A8F9)
)


class Candidates:
    """The search over an index of items."""

    def __init__(self, arrays: Arrays) -> None:
        self._keys, self._frequency = Table.of(arrays, "likeness"), Table.of(arrays, "words")
        self._rare, self._sets = Table.of(arrays, "rare"), Table.of(arrays, "sets")
        self._answers = arrays["likeness.answers"]
        self._sketches = _Sketches(*(arrays[f"sketches.{name}"] for name in _Sketches._fields))

    @staticmethod
    def build(items: Tokens, answers: Values) -> Arrays:
        """The arrays that the search needs: items by key, how many items have a word, sketches of the items.

        `answers` [items, 4] are the items' `possible_values`.
        """
        variables = _variables(items)
        words, numbers = _words(items, variables), _numbers(items)
        known, counts = np.unique(words.hashes, return_counts=True)
        frequency = Table.build(known, counts)
        sketches = _sketches(items, variables, words, numbers)
        _, sets = _Sets.of(numbers, len(items.offsets) - 1).with_words(of_items=True)
        owners, keys = _keys(items, words, numbers, sketches.symbolic, frequency, None)
        return {
            **Table.build(keys, owners, _MOST).named("likeness"),
            **Table.build(words.hashes, words.owners, _MOST).named("rare"),
            **Table.build(sets, np.zeros(len(sets), np.int64)).named("sets"),
            **frequency.named("words"),
            **{f"sketches.{name}": array for name, array in sketches._asdict().items()},
            "likeness.answers": answers,
        }

    def find(
        self, statements: Tokens, answers: Sequence[str | None]
    ) -> tuple[Ints, npt.NDArray[np.int32], Ints]:
        """(statement, item) of every pair worth a closer look; of one statement the most alike first.

        Pairs that the statements' `answers` rule out are left out.

        And the statements whose numbers say next to nothing, and that may have formulas.
        """
        variables = _variables(statements)
        words, numbers = _words(statements, variables), _numbers(statements)
        sketches = _sketches(statements, variables, words, numbers)
        texts, items = self._pairs(statements, words, numbers, sketches.symbolic)
        first = np.diff(texts, prepend=-1) != 0
        known = values(answers[text] for text in texts[first].tolist())
        possible = np.flatnonzero(~rule_out(known[np.cumsum(first) - 1], self._answers[items]))
        texts, items = texts[possible], items[possible]
        score = _score(sketches.of(texts), self._sketches.of(items))
        near = np.flatnonzero(score > 0)
        order = near[np.lexsort((items[near], -score[near], texts[near]))]
        rank = np.arange(len(order)) - np.searchsorted(texts[order], texts[order])
        order = order[rank < _LOOKED_AT]
        return texts[order], items[order], unnumbered(statements, numbers)

    def _pairs(
        self, statements: Tokens, words: _Signs, numbers: _Signs, symbolic: npt.NDArray[np.bool_]
    ) -> tuple[Ints, npt.NDArray[np.int32]]:
        """(statement, item) of all that have a key in common, once, by statement."""
        owners, keys = _keys(statements, words, numbers, symbolic, self._frequency, self._sets)
        hits, found = self._keys.find(keys)
        said = np.flatnonzero(symbolic[words.owners])
        places, more = self._rare.find(words.hashes[said])
        owners = np.concatenate((owners[hits], words.owners[said[places]]))
        every = np.sort((owners << 32) | np.concatenate((found, more)))
        pairs = every[np.flatnonzero(np.diff(every, prepend=-1) != 0)]
        return pairs >> 32, (pairs & 0xFFFFFFFF).astype(np.int32)


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


def _sketches(tokens: Tokens, variables: npt.NDArray[np.bool_], words: _Signs, numbers: _Signs) -> _Sketches:
    texts = len(tokens.offsets) - 1
    starts = np.concatenate(([0], np.cumsum(_BITS)))
    formula = words.weights == _FORMULA
    kinds = np.where(formula, 2, (words.weights > _FAMILIAR).astype(np.int64))
    bits = np.zeros((texts, int(starts[-1])), bool)
    for signs, kind in ((words, kinds), (numbers, 3 + (numbers.weights > _COMMONPLACE))):
        places = (signs.hashes >> np.uint64(40)).astype(np.int64) & (np.array(_BITS) - 1)[kind]
        bits[signs.owners, starts[kind] + places] = True
    weights = np.where(tokens.kinds == IDEOGRAPH, 2, variables)
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


def _score(ours: _Sketches, theirs: _Sketches) -> npt.NDArray[np.float64]:
    """[pairs] Positive where a closer look is worth it."""
    traits = _traits(ours, theirs)
    weights = np.array(_COARSE)[(ours.symbolic & theirs.symbolic).astype(np.int64)]
    return np.asarray((traits * weights).sum(axis=1))


def _traits(ours: _Sketches, theirs: _Sketches) -> npt.NDArray[np.float64]:
    """[pairs, 9] A constant, and how alike and how different words, numbers and formulas are."""
    familiar, telling, formulas, *_ = _weighed(ours.bits & theirs.bits)
    words, sums = familiar + telling, ours.masses + theirs.masses
    similar = np.minimum(2 * words / (sums[:, 0] + 1e-3), 1)
    alike = np.minimum(2 * formulas / (sums[:, 1] + 1e-3), 1)
    # By what differs: two numbers of one text may share a bit.
    lost, new = (sum(_weighed(one.bits & ~other.bits)[3:]) for one, other in ((theirs, ours), (ours, theirs)))
    numbers = np.maximum((sums[:, 2] - lost - new) / 2, 0)
    agreement = (numbers + 0.3) / (sums[:, 2] / 2 + 0.3)
    traits = (np.log1p(words), np.log1p(numbers), np.log1p(lost), np.log1p(new), agreement * similar, alike)
    return np.stack((np.ones(len(words)), similar, *traits, np.log1p(formulas)), axis=1)


def _weighed(bits: U64) -> list[npt.NDArray[np.float64]]:
    """[kinds][pairs] What the bits of each kind weigh together."""
    counts, ends = np.bitwise_count(bits), np.cumsum(_BITS) // 64
    return [
        weight * counts[:, end - size // 64 : end].sum(axis=1)
        for weight, end, size in zip(_WEIGHTS, ends, _BITS, strict=True)
    ]


class _Signs(NamedTuple):
    """Hashes of what texts have."""

    owners: Ints
    """[signs] The text that each belongs to."""
    hashes: U64
    weights: npt.NDArray[np.float64]


class _Sets(NamedTuple):
    """What stands for each text's set of numbers: a sum, so that one number is taken out by subtraction."""

    counts: Ints
    """[texts] Numbers of each."""
    whole: U64
    """[texts]"""
    owners: Ints
    less: U64
    """[numbers] The text that each belongs to, and its set without this number."""

    @staticmethod
    def of(numbers: _Signs, texts: int) -> _Sets:
        """The sets of numbers that are sorted by text."""
        counts = np.bincount(numbers.owners, minlength=texts)
        mixed = mix(numbers.hashes)
        running = np.concatenate((np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)))
        ends = np.cumsum(counts)
        whole = running[ends] - running[ends - counts]
        return _Sets(counts, whole, numbers.owners, whole[numbers.owners] - mixed)

    def with_words(self, *, of_items: bool) -> tuple[Ints, U64]:
        """(text, hash) of the sets that are looked for together with a word.

        A set is found as it is; where it is small also if the text or the item lacks one of its numbers.
        """
        some = np.flatnonzero(self.counts > 0)
        few = np.flatnonzero((self.counts[self.owners] > 1) & (self.counts[self.owners] <= _LEFT_OUT))
        if of_items:
            parts = [(some, self.whole[some] * _C), (self.owners[few], self.less[few] * _D)]
        else:
            parts = [
                (some, self.whole[some] * _C),
                (some, self.whole[some] * _D),
                (self.owners[few], self.less[few] * _C),
            ]
        texts, hashes = (np.concatenate(each) for each in zip(*parts, strict=True))
        return texts, mix(hashes)


def _keys(
    tokens: Tokens,
    words: _Signs,
    numbers: _Signs,
    symbolic: npt.NDArray[np.bool_],
    frequency: Table,
    known: Table | None,
) -> tuple[Ints, U64]:
    """(text, key) by which items are found, or statements look; `known`: the items' sets, for statements."""
    texts = len(tokens.offsets) - 1
    sets, of_items = _Sets.of(numbers, texts), known is None
    readable = (np.diff(tokens.offsets) <= LONGEST) & (sets.counts <= _MOST_NUMBERS)
    owners, hashes, weights = numbers
    several = np.flatnonzero(readable & (sets.counts > 1))
    rare = np.flatnonzero(readable[owners] & (weights >= RARE_NUMBER))
    alone = np.flatnonzero(readable[owners] & (sets.counts[owners] == 1) & (weights >= _TELLING))
    place = np.flatnonzero(readable[owners] & (sets.counts[owners] > 2))
    found = [
        (owners[rare], hashes[rare] + _C),
        (owners[alone], sets.whole[owners[alone]] + _A),
        (several, sets.whole[several] + _A),
        (owners[place], sets.less[place] + (_B if of_items else _A)),
    ]
    if not of_items:  # an item's number that the statement lacks
        found.append((several, sets.whole[several] + _B))

    own, bases = sets.with_words(of_items=of_items)
    here = readable[own]
    if known is not None:
        here &= known.has(bases)
    own, bases = own[here], bases[here]
    starts = np.searchsorted(words.owners, np.arange(texts + 1))
    which, said = expand(np.arange(len(own)), starts[own], np.diff(starts)[own], words.hashes)
    found.append((own[which], bases[which] + said))

    paired = readable & (_faint(numbers, texts) | symbolic)
    some = np.flatnonzero(paired[words.owners])
    found += _word_pairs(_Signs(words.owners[some], words.hashes[some], words.weights[some]), frequency)
    return np.concatenate([each for each, _ in found]), mix(np.concatenate([each for _, each in found]))


def _faint(numbers: _Signs, texts: int) -> npt.NDArray[np.bool_]:
    """[texts] Whether a text's numbers say next to nothing: it has none, or one up to ten."""
    return np.bincount(numbers.owners, np.where(numbers.weights < _TELLING, 1, 2), texts) < 2


def _numbers(tokens: Tokens) -> _Signs:
    """Each text's distinct numbers that are larger than two, by text."""
    spelled = lexicon()
    digits = np.flatnonzero(tokens.kinds == DIGIT)
    values = spelled.numbers.find(tokens.hashes)
    places = np.flatnonzero(values > 0)
    values = values[places]
    numbers = spelled.values[values]
    tens = np.flatnonzero(spelled.is_tens[values[:-1]] & spelled.is_unit[values[1:]] & (np.diff(places) == 1))
    if len(tens):  # fifty four is one number
        numbers[tens] = spelled.compounds[values[tens], values[tens + 1]]
        keep = np.ones(len(places), bool)
        keep[tens + 1] = False
        places, numbers = places[keep], numbers[keep]
    places, numbers = np.concatenate((digits, places)), np.concatenate((tokens.hashes[digits], numbers))
    weights = spelled.counted_weights[spelled.counted.find(numbers)]
    large = np.flatnonzero(weights > 0)
    owners, numbers, weights = tokens.texts(places[large]), numbers[large], weights[large]
    order = np.lexsort((numbers, owners))
    owners, numbers, weights = owners[order], numbers[order], weights[order]
    new = _changes(owners, numbers)
    return _Signs(owners[new], numbers[new], weights[new])


def _words(tokens: Tokens, variables: npt.NDArray[np.bool_]) -> _Signs:
    """Each text's words, pairs of ideographs, and formulas with every variable read alike; once, by text."""
    kinds, said_as, known = tokens.kinds, stems(tokens), lexicon()
    ideographs = kinds == IDEOGRAPH
    pairs = np.flatnonzero(ideographs[1:] & ideographs[:-1])
    said_as[pairs] = pair_hashes(tokens.hashes[pairs], tokens.hashes[pairs + 1])
    said = kinds == LETTER
    said[pairs] = True
    found = known.words.find(said_as)
    weights = known.weights[found]
    weights[ideographs & (found == 0)] = _RARE_PAIR
    said_as = np.where(found > 0, known.stands_for[found], said_as)
    said &= said_as != 0
    digits = kinds == DIGIT
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
    variables = tokens.kinds >= GREEK_LETTER
    for article in lexicon().articles:
        variables &= tokens.hashes != article
    return np.asarray(variables)


def _word_pairs(words: _Signs, frequency: Table) -> list[tuple[Ints, U64]]:
    """(text, key) of every two of each text's rarest words."""
    places, counts = frequency.find(words.hashes)
    order = np.lexsort((words.hashes[places], counts, words.owners[places]))
    places = places[order]
    owners = words.owners[places]
    places = places[np.arange(len(owners)) - np.searchsorted(owners, owners) < _RAREST]
    owners, mixed = words.owners[places], mix(words.hashes[places])
    # The sum knows no order; mixed again, it is not that of two other words.
    together = [(apart, np.flatnonzero(owners[apart:] == owners[:-apart])) for apart in range(1, _RAREST)]
    return [(owners[both], mixed[both] + mixed[both + apart]) for apart, both in together]


def _changes(owners: Ints, hashes: U64) -> npt.NDArray[np.bool_]:
    """[signs] Whether a sorted sign differs from the one before."""
    new = np.ones(len(owners), bool)
    new[1:] = (owners[1:] != owners[:-1]) | (hashes[1:] != hashes[:-1])
    return new
