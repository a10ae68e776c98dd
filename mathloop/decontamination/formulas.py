"""Finds the items that a statement with formulas, but hardly any numbers, may rephrase."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import xxhash

from mathloop.decontamination.batches import Arrays
from mathloop.decontamination.features import Features
from mathloop.decontamination.hashing import U64
from mathloop.decontamination.tables import Table

_MOST_COMPARED = 10
_LEAST = 0.15
"""Minimum similarity of the formulas of two texts that are worth a full comparison."""


class Formulas:
    """Looks up the items of an index that have no number larger than two, or a single one up to ten."""

    def __init__(self, arrays: Arrays) -> None:
        self._windows, self._rarity = Table.of(arrays, "formulas"), arrays["formulas.rarity"]
        self._sizes = arrays["formulas.sizes"]

    @staticmethod
    def build(features: dict[int, Features], count: int) -> Arrays:
        """The arrays for the lookup: `features` of some of the `count` items."""
        hashes = [_hashes(each.formulas) for each in features.values()]
        owners = np.repeat(np.fromiter(features, np.int64), [len(each) for each in hashes])
        windows = np.concatenate([*hashes, np.zeros(0, np.uint64)])
        table = Table.build(windows, owners)
        counts = (table.starts[1:] - table.starts[:-1]).astype(np.float64)
        rarity = np.log1p(len(features) / counts)
        weights = rarity[np.searchsorted(table.keys, windows)] ** 2
        return {
            **table.named("formulas"),
            "formulas.rarity": rarity,
            "formulas.sizes": np.sqrt(np.bincount(owners, weights, count)),
        }

    def find(self, features: Features) -> list[int]:
        """At most `_MOST_COMPARED` items, those with the most similar formulas first."""
        windows = _hashes(features.formulas)
        places, items = self._windows.find(windows)
        if not len(places):
            return []
        weights = self._rarity[np.searchsorted(self._windows.keys, windows[places])] ** 2
        found, inverse = np.unique(items, return_inverse=True)
        shared = np.bincount(inverse, weights)
        own = np.zeros(len(windows))
        own[places] = weights
        own[own == 0] = self._rarity.max() ** 2
        similarity = shared / (self._sizes[found] * np.sqrt(own.sum()))
        best = np.lexsort((found, -similarity))[:_MOST_COMPARED]
        return found[best[similarity[best] > _LEAST]].tolist()  # type: ignore[no-any-return]


def _hashes(windows: Iterable[str]) -> U64:
    return np.array([xxhash.xxh3_64_intdigest(window) for window in windows], np.uint64)
