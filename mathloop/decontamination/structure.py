"""Rule `structure`: the same problem with other numbers, and perhaps other names.

Statements are compared with every number replaced by one placeholder. They match when they share `SHARED`
consecutive tokens and their longest common subsequence is longer than `structure_ratio` of the longer one's
tokens. An item needs `CONTENT` words, since numbers alone are not a structure. Formulas are not either: they
consist of few different tokens. So where one of the statements has variables, the same share of the words
alone must agree, in order, and half of those that are not in every problem ("what is the value of").
"""

from __future__ import annotations

from functools import cache, lru_cache
from string import ascii_lowercase

import numpy as np
from rapidfuzz.distance import LCSseq

from mathloop.decontamination.batches import Arrays, Batch, Finding, Pairs
from mathloop.decontamination.hashing import U64, hash_token
from mathloop.decontamination.items import Items
from mathloop.decontamination.ngram_lcs import most_shared
from mathloop.decontamination.normalization import GREEK
from mathloop.decontamination.tables import Table
from mathloop.decontamination.tokenization import DIGIT, IDEOGRAPH, LETTER, Tokens
from mathloop.decontamination.words import STOP, STOP_CHARACTERS

SHARED = 7
CONTENT = 8
"""Minimum words of more than one letter per item; two ideographs count as a word."""
_MOST = 24
"""A run that more items share is a stock phrase, such as: how many more does he have."""
NUMBER = hash_token("0")
_ARTICLES = ("a", "i")
_OTHER_SYMBOLS = frozenset((NUMBER, *map(hash_token, _ARTICLES)))
"""Besides variables: what is no word."""
_CACHED = 4096
"""Items whose letters a process caches."""


class Structure:
    """The rule over an index of items."""

    name = "structure"

    def __init__(self, items: Items, arrays: Arrays, *, structure_ratio: float) -> None:
        self._items, self._grams = items, Table.of(arrays, "skeletons")
        self._skeletons, self._offsets = arrays["skeletons.tokens"], arrays["items.offsets"]
        self._ratio = structure_ratio
        self._item_letters = lru_cache(_CACHED)(self._letters_of)

    @staticmethod
    def build(items: Tokens) -> Arrays:
        """The arrays that the rule needs in addition to the items' own."""
        skeletons = _skeletons(items)
        grams = skeletons.grams(SHARED)
        places = np.arange(len(grams))
        owners = items.texts(places)
        weight = (items.kinds == LETTER) + 0.5 * (items.kinds == IDEOGRAPH)
        sums = np.concatenate(([0.0], np.cumsum(weight)))
        content = sums[items.offsets[1:]] - sums[items.offsets[:-1]]
        inside = (places + SHARED <= items.offsets[owners + 1]) & (content[owners] >= CONTENT)
        return {
            **Table.build(grams[inside], owners[inside], _MOST).named("skeletons"),
            "skeletons.tokens": skeletons.hashes,
        }

    def candidates(self, batch: Batch) -> Pairs:
        """Pairs of statements and items that share `SHARED` tokens and have similar lengths."""
        tokens = batch.statements
        if not len(tokens.hashes):
            return Pairs.none()
        skeletons = _skeletons(tokens)
        batch.notes[self.name] = _letters(skeletons.hashes)
        places, items = self._grams.find(skeletons.grams(SHARED))
        texts = tokens.texts(places)
        sizes = tokens.offsets[texts + 1] - tokens.offsets[texts]
        wanted = self._offsets[items + 1] - self._offsets[items]
        inside = places + SHARED <= tokens.offsets[texts + 1]
        inside &= np.minimum(sizes, wanted) > self._ratio * np.maximum(sizes, wanted)
        return most_shared(texts[inside], items[inside], places[inside])

    def decide(self, batch: Batch, text: int, item: int, place: int) -> Finding | None:
        """`place`: position of the first shared run in the batch."""
        own = slice(batch.tokens.offsets[text], batch.tokens.offsets[text + 1])
        if self._items.is_stock(item) or not self._may_match(batch.notes[self.name][own], item):
            return None
        numbers = batch.tokens.kinds[own] == DIGIT
        words = np.where(numbers, np.uint64(NUMBER), batch.tokens.hashes[own]).tolist()
        wanted = self._skeletons[self._offsets[item] : self._offsets[item + 1]].tolist()
        longer = max(len(words), len(wanted))
        length = int(LCSseq.similarity(words, wanted, score_cutoff=int(self._ratio * longer)))
        if length <= self._ratio * longer or not self._same_words(words, wanted):
            return None
        start = batch.start(text, place)
        own_words = zip(batch.words(text, start, SHARED), numbers[start : start + SHARED], strict=True)
        shared = " ".join("#" if is_number else word for word, is_number in own_words)
        ratio = length / longer
        counts = f"{length} of {longer} tokens in order ({ratio:.2f})"
        return Finding(f"ignoring numbers, shares “{shared}” and {counts}", ratio)

    def _same_words(self, ours: list[int], theirs: list[int]) -> bool:
        """Whether the words agree of statements with variables; True for others."""
        variables, common = _variables(), _common_words()
        if variables.isdisjoint(ours) and variables.isdisjoint(theirs):
            return True
        symbols = variables | _OTHER_SYMBOLS
        one, other = ([word for word in words if word not in symbols] for words in (ours, theirs))
        if LCSseq.similarity(one, other) <= self._ratio * max(len(one), len(other)):
            return False
        content = [set(words) - common for words in (one, other)]
        return 2 * len(content[0] & content[1]) >= max(1, *map(len, content))

    def _may_match(self, letters: str, item: int) -> bool:
        wanted = self._item_letters(item)
        least = int(self._ratio * max(len(letters), len(wanted)))
        return bool(LCSseq.similarity(letters, wanted, score_cutoff=least + 1))

    def _letters_of(self, item: int) -> str:
        return _letters(self._skeletons[self._offsets[item] : self._offsets[item + 1]])


@cache
def _variables() -> frozenset[int]:
    return frozenset(map(hash_token, ({*ascii_lowercase} - {*_ARTICLES}) | {*GREEK.values()}))


@cache
def _common_words() -> frozenset[int]:
    return frozenset(map(hash_token, STOP | STOP_CHARACTERS))


def _letters(hashes: U64) -> str:
    """A letter per hash. Different hashes may share one, so an LCS of letters is never too short."""
    codes = (hashes >> np.uint64(44)).astype("<u4") + np.uint32(0x10000)
    return codes.tobytes().decode("utf-32-le")


def _skeletons(tokens: Tokens) -> Tokens:
    return tokens.with_hashes(np.where(tokens.kinds == DIGIT, np.uint64(NUMBER), tokens.hashes))
