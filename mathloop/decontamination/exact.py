"""Rule `exact`: a text that equals the item or contains it, token by token; for items of any length.

An item of at least `CONTAINED` tokens may occur anywhere in the text. A shorter one, like "What is 3 + 4?",
must be a separate sentence with the same operators: it begins at the start of the text or after the end of a
sentence, and is followed by such an end or by the item's own ending. A single token and a stock sentence must
be the whole text. Texts without spaces between words are compared letter by letter, see `spaceless`.
"""

from __future__ import annotations

import numpy as np

from mathloop.decontamination.batches import Arrays, Batch, Finding, Pairs
from mathloop.decontamination.items import Items
from mathloop.decontamination.spaceless import Spaceless
from mathloop.decontamination.tables import Table
from mathloop.decontamination.tokenization import Tokens

CONTAINED = 8
"""Minimum tokens of an item that may occur anywhere in a text."""
_SPACELESS = -1
_ENDS = frozenset(".!?:;。！？：；\n")
"""These end a sentence even if no space follows."""
_OPERATORS = dict(zip("+-−–*×·•/÷^=<>!%", "+---****//^=<>!%", strict=True))


class Exact:
    """The rule over an index of items."""

    name = "exact"

    def __init__(self, items: Items, arrays: Arrays) -> None:
        self._items, self._spaceless = items, Spaceless(items, arrays)
        self._whole, self._anchors = Table.of(arrays, "whole"), Table.of(arrays, "anchors")
        self._places, self._runs = arrays["anchors.places"], arrays["whole.runs"]
        self._offsets = arrays["items.offsets"]

    @staticmethod
    def build(items: Tokens) -> Arrays:
        """The arrays that the rule needs in addition to the items' own.

        An item is looked up by its anchor: its rarest pair of adjacent tokens.
        """
        starts, sizes = items.offsets[:-1], np.diff(items.offsets)
        runs = items.runs(starts, sizes)
        filled = np.flatnonzero(sizes)
        pairs = items.grams(2)
        _, inverse, counts = np.unique(pairs, return_inverse=True, return_counts=True)
        places = np.zeros(len(sizes), np.int32)
        longer = np.flatnonzero(sizes > 1)
        for item in longer:
            own = slice(starts[item], starts[item] + sizes[item] - 1)
            places[item] = np.argmin(counts[inverse[own]])
        anchors = pairs[starts[longer] + places[longer]]
        return {
            **Table.build(runs[filled], filled).named("whole"),
            **Table.build(anchors, longer).named("anchors"),
            "anchors.places": places,
            "whole.runs": runs,
        }

    def candidates(self, batch: Batch) -> Pairs:
        """Pairs where the text contains the item, equal ones first, then by position."""
        tokens = batch.tokens
        sizes = np.diff(tokens.offsets)
        filled = np.flatnonzero(sizes)
        equal, same = self._whole.find(tokens.runs(tokens.offsets[filled], sizes[filled]))
        equal = filled[equal]
        places, items = self._anchors.find(tokens.grams(2))
        texts = tokens.texts(places)
        places = places - self._places[items]
        length = self._offsets[items + 1] - self._offsets[items]
        inside = (places >= tokens.offsets[texts]) & (places + length <= tokens.offsets[texts + 1])
        places, items, texts, length = places[inside], items[inside], texts[inside], length[inside]
        right = tokens.runs(places, length) == self._runs[items]
        places, items, texts = places[right], items[right], texts[right]
        order = np.lexsort((items, places, texts))
        spaceless = np.array(self._spaceless.find(batch), np.int64).reshape(-1, 2)
        return Pairs(
            np.concatenate((equal, texts[order], spaceless[:, 0])),
            np.concatenate((same, items[order], spaceless[:, 1])),
            np.concatenate((tokens.offsets[equal], places[order], np.full(len(spaceless), _SPACELESS))),
        )

    def decide(self, batch: Batch, text: int, item: int, place: int) -> Finding | None:
        """`place`: position of the item's first token in the batch, or that its spaces are missing."""
        if place == _SPACELESS:
            if self._items.is_stock(item) and len(batch.passages[text].text.splitlines()) > 1:
                return None
            return Finding("the same letters, without spaces between words", 1.0)
        size = int(self._offsets[item + 1] - self._offsets[item])
        start = batch.start(text, place)
        length = int(batch.tokens.offsets[text + 1] - batch.tokens.offsets[text])
        if size < length and self._items.is_stock(item):
            return None
        if size < min(length, CONTAINED) and not self._is_sentence(batch, text, start, item):
            return None
        shared = " ".join(batch.words(text, start, size))
        if size == length:
            return Finding(f"the same {size} tokens: “{shared}”", 1.0)
        if size >= CONTAINED:
            return Finding(f"contains all {size} tokens of the item, from token {start + 1}: “{shared}”", 1.0)
        evidence = f"contains the item's {size} tokens as a sentence, from token {start + 1}: “{shared}”"
        return Finding(evidence, 1.0)

    def _is_sentence(self, batch: Batch, text: int, start: int, item: int) -> bool:
        if start > 0 and not _ENDS & set(batch.gap(text, start)):
            return False
        end = start + int(self._offsets[item + 1] - self._offsets[item])
        between = "".join(batch.gap(text, place) for place in range(start + 1, end))
        if _operators(between) != _operators(self._items.between(item)):
            return False  # 4 - 3 is not 4(3)
        after = batch.gap(text, end)
        if _ENDS & set(after):
            return True
        # A copy may end as the item does, without punctuation: (1+i)^10 =, or a sentence to complete.
        return "".join(after.split()).startswith("".join(self._items.ending(item).split()))


def _operators(gaps: str) -> str:
    return "".join(filter(None, map(_OPERATORS.get, gaps)))
