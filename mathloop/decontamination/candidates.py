"""Finds the items that statements may rephrase, for a whole batch of statements at once.

Rephrasing keeps the numbers. So a statement is looked up by the set of its numbers larger than two, in digits
or words: by the set alone, unless it is a single small number; by the set and one of its words; with one
number left out on either side; and by each rare number. A statement with no number above two, or a single one
up to ten, is looked up by pairs of its rarest words; one with variables or in Chinese by these and by each
rare word or formula. Sketches then select the items that are worth a full comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.answer_conflicts import Values, rule_out, values
from mathloop.decontamination.batches import Arrays
from mathloop.decontamination.hashed_features import HashedFeatures, numbers_of, variables_of, words_of
from mathloop.decontamination.hashing import U64, Ints, mix
from mathloop.decontamination.lexicon import RARE_NUMBER
from mathloop.decontamination.sketches import Sketches, score, sketch
from mathloop.decontamination.tables import Table, expand
from mathloop.decontamination.tokenization import Tokens

LONGEST = 1000
"""Tokens; a longer text is not treated as a problem's statement."""
_MOST_NUMBERS = 12
"""A text with more numbers is a table, not a set to look up."""
_MOST = 24
"""A key that more items share is not selective enough."""
_RAREST = 8
"""Rarest words of a text that are paired."""
_LEFT_OUT = 3
"""With at most this many numbers, a set that lacks one of them is looked up together with a word."""
_INFORMATIVE = 0.5
"""A number with a lower weight is not informative enough on its own."""
_MOST_COMPARED = 8
"""Items per statement that get a full comparison."""
_SALT_SET, _SALT_LESS_ONE, _SALT_RARE, _SALT_WORD_LESS_ONE = (
    np.uint64(salt)
    for salt in (0x9FB21C651E98DF25, 0xA24BAED4963EE407, 0x8CB92BA72F3D8DD7, 0xD8163841FDE6A8F9)
)
_SALT_WORD = _SALT_RARE  # one is added, the other multiplied
"""Salts keep the kinds of keys apart: a set of numbers, a set less one number, a rare number, and a set, or a
set less one number, together with a word."""


class Candidates:
    """Looks up candidates in an index of items."""

    def __init__(self, arrays: Arrays) -> None:
        self._keys, self._frequency = Table.of(arrays, "likeness"), Table.of(arrays, "words")
        self._rare, self._sets = Table.of(arrays, "rare"), Table.of(arrays, "sets")
        self._answers = arrays["likeness.answers"]
        self._sketches = Sketches(*(arrays[f"sketches.{name}"] for name in Sketches._fields))

    @staticmethod
    def build(items: Tokens, answers: Values) -> Arrays:
        """The arrays for the lookup: items by key, number of items per word, sketches of the items.

        `answers` [items, 4] are the items' `possible_values`.
        """
        variables = variables_of(items)
        words, numbers = words_of(items, variables), numbers_of(items)
        vocabulary, counts = np.unique(words.hashes, return_counts=True)
        frequency = Table.build(vocabulary, counts)
        sketches = sketch(items, variables, words, numbers)
        set_owners, sets = _Sets.of(numbers, len(items.offsets) - 1).with_words(of_items=True)
        owners, keys = _keys(items, words, numbers, sketches.symbolic, frequency, None)
        return {
            **Table.build(keys, owners, _MOST).named("likeness"),
            **Table.build(words.hashes, words.owners, _MOST).named("rare"),
            **Table.build(sets, set_owners).named("sets"),
            **frequency.named("words"),
            **{f"sketches.{name}": array for name, array in sketches._asdict().items()},
            "likeness.answers": answers,
        }

    def find(
        self, statements: Tokens, answers: Sequence[str | None]
    ) -> tuple[Ints, npt.NDArray[np.int32], Ints]:
        """Statement and item of each pair worth a full comparison, and the `unnumbered` statements.

        Per statement the most similar item comes first. Pairs whose `answers` conflict are left out.
        """
        variables = variables_of(statements)
        words, numbers = words_of(statements, variables), numbers_of(statements)
        sketches = sketch(statements, variables, words, numbers)
        texts, items = self._pairs(statements, words, numbers, sketches.symbolic)
        first = np.diff(texts, prepend=-1) != 0
        own_values = values(answers[text] for text in texts[first].tolist())
        possible = np.flatnonzero(~rule_out(own_values[np.cumsum(first) - 1], self._answers[items]))
        texts, items = texts[possible], items[possible]
        likely = score(sketches.of(texts), self._sketches.of(items))
        near = np.flatnonzero(likely > 0)
        order = near[np.lexsort((items[near], -likely[near], texts[near]))]
        order = order[_first_few(texts[order], _MOST_COMPARED)]
        return texts[order], items[order], unnumbered(statements, variables, numbers)

    def _pairs(
        self,
        statements: Tokens,
        words: HashedFeatures,
        numbers: HashedFeatures,
        symbolic: npt.NDArray[np.bool_],
    ) -> tuple[Ints, npt.NDArray[np.int32]]:
        """(statement, item) of all distinct pairs that share a key, sorted by statement."""
        owners, keys = _keys(statements, words, numbers, symbolic, self._frequency, self._sets)
        hits, items = self._keys.find(keys)
        by_words = symbolic & (np.diff(statements.offsets) <= LONGEST)
        candidates = np.flatnonzero(by_words[words.owners])
        places, more = self._rare.find(words.hashes[candidates])
        owners = np.concatenate((owners[hits], words.owners[candidates[places]]))
        every = np.sort((owners << 32) | np.concatenate((items, more)))
        pairs = every[np.flatnonzero(np.diff(every, prepend=-1) != 0)]
        return pairs >> 32, (pairs & 0xFFFFFFFF).astype(np.int32)


def unnumbered(statements: Tokens, variables: npt.NDArray[np.bool_], numbers: HashedFeatures) -> Ints:
    """Statements with `_few_numbers` that may have formulas, since they have several variables."""
    few = _few_numbers(numbers, len(statements.offsets) - 1)
    several = np.bincount(statements.texts(np.flatnonzero(variables)), minlength=len(few)) > 1
    return np.flatnonzero(few & several & (np.diff(statements.offsets) <= LONGEST))


class _Sets(NamedTuple):
    """A hash of each text's set of numbers: a sum, so that subtraction removes one number."""

    counts: Ints
    """[texts] How many numbers each has."""
    whole: U64
    """[texts]"""
    owners: Ints
    less: U64
    """[numbers] The text of each number, and the hash of its set without this number."""

    @staticmethod
    def of(numbers: HashedFeatures, texts: int) -> _Sets:
        """The sets of `numbers`, which are sorted by text."""
        counts = np.bincount(numbers.owners, minlength=texts)
        mixed = mix(numbers.hashes)
        running = np.concatenate((np.zeros(1, np.uint64), np.cumsum(mixed, dtype=np.uint64)))
        ends = np.cumsum(counts)
        whole = running[ends] - running[ends - counts]
        return _Sets(counts, whole, numbers.owners, whole[numbers.owners] - mixed)

    def with_words(self, *, of_items: bool) -> tuple[Ints, U64]:
        """(text, hash) of the sets that are looked up together with a word.

        A set matches as a whole; a small one also if the text or the item lacks one of its numbers.
        """
        some = np.flatnonzero(self.counts > 0)
        few = np.flatnonzero((self.counts[self.owners] > 1) & (self.counts[self.owners] <= _LEFT_OUT))
        if of_items:
            parts = [
                (some, self.whole[some] * _SALT_WORD),
                (self.owners[few], self.less[few] * _SALT_WORD_LESS_ONE),
            ]
        else:
            parts = [
                (some, self.whole[some] * _SALT_WORD),
                (some, self.whole[some] * _SALT_WORD_LESS_ONE),
                (self.owners[few], self.less[few] * _SALT_WORD),
            ]
        texts, hashes = (np.concatenate(each) for each in zip(*parts, strict=True))
        return texts, mix(hashes)


def _keys(
    tokens: Tokens,
    words: HashedFeatures,
    numbers: HashedFeatures,
    symbolic: npt.NDArray[np.bool_],
    frequency: Table,
    item_sets: Table | None,
) -> tuple[Ints, U64]:
    """(text, key) under which items are stored or, given their `item_sets`, statements are looked up."""
    texts = len(tokens.offsets) - 1
    sets, of_items = _Sets.of(numbers, texts), item_sets is None
    readable = (np.diff(tokens.offsets) <= LONGEST) & (sets.counts <= _MOST_NUMBERS)
    owners, hashes, weights = numbers
    several = np.flatnonzero(readable & (sets.counts > 1))
    rare = np.flatnonzero(readable[owners] & (weights >= RARE_NUMBER))
    alone = np.flatnonzero(readable[owners] & (sets.counts[owners] == 1) & (weights >= _INFORMATIVE))
    place = np.flatnonzero(readable[owners] & (sets.counts[owners] > 2))
    keys = [
        (owners[rare], hashes[rare] + _SALT_RARE),
        (owners[alone], sets.whole[owners[alone]] + _SALT_SET),
        (several, sets.whole[several] + _SALT_SET),
        (owners[place], sets.less[place] + (_SALT_LESS_ONE if of_items else _SALT_SET)),
    ]
    if not of_items:  # matches an item that has one number more
        keys.append((several, sets.whole[several] + _SALT_LESS_ONE))

    own, bases = sets.with_words(of_items=of_items)
    here = readable[own]
    if item_sets is not None:
        here &= item_sets.has(bases)
    own, bases = own[here], bases[here]
    starts = np.searchsorted(words.owners, np.arange(texts + 1))
    which, word_hashes = expand(np.arange(len(own)), starts[own], np.diff(starts)[own], words.hashes)
    keys.append((own[which], bases[which] + word_hashes))

    paired = readable & (_few_numbers(numbers, texts) | symbolic)
    some = np.flatnonzero(paired[words.owners])
    some_words = HashedFeatures(words.owners[some], words.hashes[some], words.weights[some])
    keys += _word_pairs(some_words, frequency)
    return np.concatenate([each for each, _ in keys]), mix(np.concatenate([each for _, each in keys]))


def _few_numbers(numbers: HashedFeatures, texts: int) -> npt.NDArray[np.bool_]:
    """[texts] Whether a text has no number larger than two, or a single one up to ten."""
    return np.bincount(numbers.owners, np.where(numbers.weights < _INFORMATIVE, 1, 2), texts) < 2


def _word_pairs(words: HashedFeatures, frequency: Table) -> list[tuple[Ints, U64]]:
    """(text, key) of each pair among a text's rarest words."""
    places, counts = frequency.find(words.hashes)
    order = np.lexsort((words.hashes[places], counts, words.owners[places]))
    places = places[order]
    owners = words.owners[places]
    places = places[_first_few(owners, _RAREST)]
    owners, mixed = words.owners[places], mix(words.hashes[places])
    # A sum does not depend on order; mixing it again avoids collisions with other pairs.
    together = [(apart, np.flatnonzero(owners[apart:] == owners[:-apart])) for apart in range(1, _RAREST)]
    return [(owners[both], mixed[both] + mixed[both + apart]) for apart, both in together]


def _first_few(owners: Ints, count: int) -> npt.NDArray[np.bool_]:
    """[features] Whether each is among the first `count` of its owner; `owners` are sorted."""
    return np.asarray(np.arange(len(owners)) - np.searchsorted(owners, owners) < count)
