"""Rule `ngram_lcs`: a shared n-gram and a long common subsequence (Qwen2.5-Math report, section 4).

An item contaminates a text when both contain an n-gram of `ngram` tokens, and their longest common
subsequence is longer than `lcs_ratio` of the shorter text's tokens. The report does not define the
denominator of its ratio; we use the shorter text, which also finds an item inside a long solution.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from rapidfuzz.distance import LCSseq

from mathloop.decontamination.batches import Arrays, Batch, Finding, Pairs
from mathloop.decontamination.hashing import Ints
from mathloop.decontamination.items import Items
from mathloop.decontamination.tables import Table
from mathloop.decontamination.tokenization import Tokens


def most_shared(texts: Ints, items: npt.NDArray[np.int32], places: Ints) -> Pairs:
    """Each pair of text and item once, with its first position; per text the most frequent pairs first."""
    order = np.lexsort((places, items, texts))
    places, items, texts = places[order], items[order], texts[order]
    first = np.ones(len(places), bool)
    first[1:] = (texts[1:] != texts[:-1]) | (items[1:] != items[:-1])
    starts = np.flatnonzero(first)
    shared = np.diff(np.append(starts, len(places)))
    places, items, texts = places[starts], items[starts], texts[starts]
    order = np.lexsort((items, -shared, texts))
    return Pairs(texts[order], items[order], places[order])


class NgramLcs:
    """The rule over an index of items."""

    name = "ngram_lcs"

    def __init__(self, items: Items, arrays: Arrays, *, ngram: int, lcs_ratio: float) -> None:
        self._items, self._grams = items, Table.of(arrays, "grams")
        self._ngram, self._ratio = ngram, lcs_ratio

    @staticmethod
    def build(items: Tokens, ngram: int) -> Arrays:
        """The arrays that the rule needs in addition to the items' own."""
        grams = items.grams(ngram)
        places = np.arange(len(grams))
        owners = items.texts(places)
        inside = places + ngram <= items.offsets[owners + 1]
        return Table.build(grams[inside], owners[inside]).named("grams")

    def candidates(self, batch: Batch) -> Pairs:
        """Pairs that share an n-gram, those that share the most first."""
        tokens = batch.tokens
        places, items = self._grams.find(tokens.grams(self._ngram))
        texts = tokens.texts(places)
        inside = places + self._ngram <= tokens.offsets[texts + 1]
        places, items, texts = places[inside], items[inside], texts[inside]
        return most_shared(texts, items, places)

    def decide(self, batch: Batch, text: int, item: int, place: int) -> Finding | None:
        """`place`: position of the first shared n-gram in the batch."""
        words = batch.hashes(text)
        wanted = self._items.hashes(item)
        shorter = min(len(words), len(wanted))
        length = int(LCSseq.similarity(words, wanted))
        if length <= self._ratio * shorter:
            return None
        start = batch.start(text, place)
        shared = " ".join(batch.words(text, start, self._ngram))
        ratio = length / shorter
        return Finding(f"shares “{shared}”; LCS {length} of {shorter} tokens ({ratio:.2f})", ratio)
