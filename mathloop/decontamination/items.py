"""The items of an index: benchmark questions, stored as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

from mathloop.decontamination.batches import Arrays
from mathloop.decontamination.features import Features, extract
from mathloop.decontamination.normalization import compact, normalize, spans
from mathloop.decontamination.stock import is_stock
from mathloop.decontamination.tokenization import Tokens

_CACHED = 4096
"""Items whose features a process caches."""


@dataclass(frozen=True, slots=True)
class Item:
    """A benchmark question, and its final answer if known."""

    benchmark: str
    text: str
    answer: str | None = None


class Items:
    """Items by number, decoded from arrays on access."""

    def __init__(self, names: Sequence[str], arrays: Arrays) -> None:
        self._names = names
        self._benchmarks = arrays["items.benchmarks"]
        self._texts, self._bounds = arrays["items.texts"], arrays["items.bounds"]
        self._tokens, self._offsets = arrays["items.tokens"], arrays["items.offsets"]
        self.features = lru_cache(_CACHED)(self._features)
        self.answer = lru_cache(_CACHED)(self._answer)
        self.between = lru_cache(_CACHED)(self._between)
        self.ending = lru_cache(_CACHED)(self._ending)
        self.is_stock = lru_cache(_CACHED)(lambda item: is_stock(self._text(2 * item)))

    @staticmethod
    def build(items: Sequence[Item], names: Sequence[str], tokens: Tokens) -> Arrays:
        """The arrays; each item's text is followed by its answer, empty if unknown."""
        parts = [part for item in items for part in (item.text, item.answer or "")]
        encoded = [part.encode("utf-8", "surrogatepass") for part in parts]
        number = {name: place for place, name in enumerate(names)}
        return {
            "items.benchmarks": np.array([number[item.benchmark] for item in items], np.int32),
            "items.texts": np.frombuffer(b"".join(encoded), np.uint8),
            "items.bounds": np.concatenate(([0], np.cumsum([len(part) for part in encoded]))).astype(
                np.int64
            ),
            "items.tokens": tokens.hashes,
            "items.offsets": tokens.offsets.astype(np.int64),
        }

    def __len__(self) -> int:
        return len(self._benchmarks)

    def __getitem__(self, item: int) -> Item:
        return Item(
            self._names[self._benchmarks[item]], self._text(2 * item), self._text(2 * item + 1) or None
        )

    def hashes(self, item: int) -> list[int]:
        """The token hashes of an item."""
        return self._tokens[self._offsets[item] : self._offsets[item + 1]].tolist()  # type: ignore[no-any-return]

    def _between(self, item: int) -> str:
        """The normalized characters between an item's first and last token, without its tokens."""
        plain = compact(normalize(self._text(2 * item)))
        found = spans(plain)
        return "".join(plain[one.end : other.start] for one, other in pairwise(found))

    def _ending(self, item: int) -> str:
        """The normalized characters after an item's last token."""
        plain = compact(normalize(self._text(2 * item)))
        found = spans(plain)
        return plain[found[-1].end :] if found else plain

    def _text(self, part: int) -> str:
        return bytes(self._texts[self._bounds[part] : self._bounds[part + 1]]).decode(
            "utf-8", "surrogatepass"
        )

    def _answer(self, item: int) -> str | None:
        return self._text(2 * item + 1) or None

    def _features(self, item: int) -> Features:
        return extract(self._text(2 * item))
