"""Which items a statement may be a rephrasing of, for a whole batch of statements at once.

Another wording keeps the numbers. So a statement is looked up by the set of its numbers that are larger than
two, whether written in digits or words: by the set alone, unless it is a single small number; by the set and
one of its words; with one number left out on either side; and by each rare number. A statement whose numbers
say next to nothing is looked up by pairs of its rarest words; one that has variables, or is in Chinese, by
these and by each rare word or formula. Sketches then tell which of the items found are worth a closer look.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.answers import Values, rule_out, values
from mathloop.decontamination.batches import Arrays
from mathloop.decontamination.lexicon import RARE_NUMBER
from mathloop.decontamination.signs import Signs, numbers_of, variables_of, words_of
from mathloop.decontamination.sketches import Sketches, score, sketch
from mathloop.decontamination.tables import Table, expand
from mathloop.decontamination.tokenization import U64, Ints, Tokens, mix

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
_TELLING = 0.5
"""A number that weighs less by itself tells too little."""
_LOOKED_AT = 8
"""Items that a statement is compared with, word by word."""
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
        self._sketches = Sketches(*(arrays[f"sketches.{name}"] for name in Sketches._fields))

    @staticmethod
    def build(items: Tokens, answers: Values) -> Arrays:
        """The arrays that the search needs: items by key, how many items have a word, sketches of the items.

        `answers` [items, 4] are the items' `possible_values`.
        """
        variables = variables_of(items)
        words, numbers = words_of(items, variables), numbers_of(items)
        known, counts = np.unique(words.hashes, return_counts=True)
        frequency = Table.build(known, counts)
        sketches = sketch(items, variables, words, numbers)
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
        variables = variables_of(statements)
        words, numbers = words_of(statements, variables), numbers_of(statements)
        sketches = sketch(statements, variables, words, numbers)
        texts, items = self._pairs(statements, words, numbers, sketches.symbolic)
        first = np.diff(texts, prepend=-1) != 0
        known = values(answers[text] for text in texts[first].tolist())
        possible = np.flatnonzero(~rule_out(known[np.cumsum(first) - 1], self._answers[items]))
        texts, items = texts[possible], items[possible]
        likely = score(sketches.of(texts), self._sketches.of(items))
        near = np.flatnonzero(likely > 0)
        order = near[np.lexsort((items[near], -likely[near], texts[near]))]
        order = order[_first_few(texts[order], _LOOKED_AT)]
        return texts[order], items[order], unnumbered(statements, variables, numbers)

    def _pairs(
        self, statements: Tokens, words: Signs, numbers: Signs, symbolic: npt.NDArray[np.bool_]
    ) -> tuple[Ints, npt.NDArray[np.int32]]:
        """(statement, item) of all that have a key in common, once, by statement."""
        owners, keys = _keys(statements, words, numbers, symbolic, self._frequency, self._sets)
        hits, found = self._keys.find(keys)
        wordy = symbolic & (np.diff(statements.offsets) <= LONGEST)
        said = np.flatnonzero(wordy[words.owners])
        places, more = self._rare.find(words.hashes[said])
        owners = np.concatenate((owners[hits], words.owners[said[places]]))
        every = np.sort((owners << 32) | np.concatenate((found, more)))
        pairs = every[np.flatnonzero(np.diff(every, prepend=-1) != 0)]
        return pairs >> 32, (pairs & 0xFFFFFFFF).astype(np.int32)


def unnumbered(statements: Tokens, variables: npt.NDArray[np.bool_], numbers: Signs) -> Ints:
    """Statements whose numbers say next to nothing, and that may have formulas."""
    faint = _faint(numbers, len(statements.offsets) - 1)
    several = np.bincount(statements.texts(np.flatnonzero(variables)), minlength=len(faint)) > 1
    return np.flatnonzero(faint & several & (np.diff(statements.offsets) <= LONGEST))


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
    def of(numbers: Signs, texts: int) -> _Sets:
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
    words: Signs,
    numbers: Signs,
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
    found += _word_pairs(Signs(words.owners[some], words.hashes[some], words.weights[some]), frequency)
    return np.concatenate([each for each, _ in found]), mix(np.concatenate([each for _, each in found]))


def _faint(numbers: Signs, texts: int) -> npt.NDArray[np.bool_]:
    """[texts] Whether a text's numbers say next to nothing: it has none, or one up to ten."""
    return np.bincount(numbers.owners, np.where(numbers.weights < _TELLING, 1, 2), texts) < 2


def _word_pairs(words: Signs, frequency: Table) -> list[tuple[Ints, U64]]:
    """(text, key) of every two of each text's rarest words."""
    places, counts = frequency.find(words.hashes)
    order = np.lexsort((words.hashes[places], counts, words.owners[places]))
    places = places[order]
    owners = words.owners[places]
    places = places[_first_few(owners, _RAREST)]
    owners, mixed = words.owners[places], mix(words.hashes[places])
    # The sum knows no order; mixed again, it is not that of two other words.
    together = [(apart, np.flatnonzero(owners[apart:] == owners[:-apart])) for apart in range(1, _RAREST)]
    return [(owners[both], mixed[both] + mixed[both + apart]) for apart, both in together]


def _first_few(owners: Ints, count: int) -> npt.NDArray[np.bool_]:
    """[signs] Whether each is among the first `count` of its owner, by whom they are sorted."""
    return np.asarray(np.arange(len(owners)) - np.searchsorted(owners, owners) < count)
