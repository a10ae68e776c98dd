"""A table from hashes to items, searched for a whole batch of hashes at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.batches import Arrays
from mathloop.decontamination.tokenization import U64, Ints

_FIELDS = ("keys", "starts", "values", "bits", "buckets")
_LOAD_BITS = 6
"""The filter has 2**6 bits a key: about one foreign hash in 64 passes it."""


@dataclass(frozen=True, slots=True)
class Table:
    """Which values belong to a key. All arrays may be memory maps."""

    keys: U64
    """[keys] Sorted."""
    starts: npt.NDArray[np.uint32]
    """[keys + 1] Where each key's values begin."""
    values: npt.NDArray[np.int32]
    bits: npt.NDArray[np.uint8]
    """A bit for each value of a key's upper bits: most hashes that are no key are dismissed by it."""
    buckets: npt.NDArray[np.uint32]
    """[2**n + 1] Where the keys with each value of their n upper bits begin."""

    @classmethod
    def build(cls, keys: U64, values: Ints, most: int | None = None) -> Table:
        """Each pair once; keys with more than `most` values are left out."""
        order = np.lexsort((values, keys))
        keys, values = keys[order], values[order]
        new = np.ones(len(keys), bool)
        new[1:] = (keys[1:] != keys[:-1]) | (values[1:] != values[:-1])
        keys, values = keys[new], values[new]
        unique, starts, counts = np.unique(keys, return_index=True, return_counts=True)
        if most is not None:
            few = counts <= most
            values = values[np.repeat(few, counts)]
            unique, counts = unique[few], counts[few]
        starts = np.concatenate(([0], np.cumsum(counts)))
        size = max(13, (max(1, len(unique)) << _LOAD_BITS).bit_length() - 1)
        places = unique >> np.uint64(64 - size)
        bits = np.zeros(1 << (size - 3), np.uint8)
        np.bitwise_or.at(
            bits, places >> np.uint64(3), np.uint8(1) << (places & np.uint64(7)).astype(np.uint8)
        )
        size = max(1, len(unique)).bit_length()
        borders = np.arange(1, 1 << size, dtype=np.uint64) << np.uint64(64 - size)
        inner = np.searchsorted(unique, borders)
        buckets = np.concatenate(([0], inner, [len(unique)]))
        return cls(unique, starts.astype(np.uint32), values.astype(np.int32), bits, buckets.astype(np.uint32))

    @classmethod
    def of(cls, arrays: Arrays, name: str) -> Table:
        """The table that was stored under `name`."""
        return cls(*(arrays[f"{name}.{field}"] for field in _FIELDS))

    def named(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """Its arrays, to be stored under `name`."""
        return {f"{name}.{field}": getattr(self, field) for field in _FIELDS}

    def find(self, hashes: U64) -> tuple[Ints, npt.NDArray[np.int32]]:
        """(place in `hashes`, value) of every match, by place."""
        hits, found = self.locate(hashes)
        begin = self.starts[found].astype(np.int64)
        return expand(hits, begin, self.starts[found + 1] - begin, self.values)

    def has(self, hashes: U64) -> npt.NDArray[np.bool_]:
        """[hashes] Whether each is a key."""
        known = np.zeros(len(hashes), bool)
        known[self.locate(hashes)[0]] = True
        return known

    def locate(self, hashes: U64) -> tuple[Ints, Ints]:
        """(place in `hashes`, place among the keys) of every hash that is a key."""
        slots = (hashes >> np.uint64(64 - (len(self.bits) * 8).bit_length() + 1)).view(np.int64)
        passed = self.bits[slots >> 3] >> (slots.astype(np.uint8) & np.uint8(7))
        hits = np.flatnonzero((passed & np.uint8(1)).view(np.bool_))
        if not len(hits) or not len(self.keys):
            return hits[:0], hits[:0]
        found = self._places(hashes[hits])
        right = np.flatnonzero(found >= 0)
        return hits[right], found[right]

    def _places(self, wanted: U64) -> Ints:
        """[wanted] The place of each among the keys, -1 where it is none: a bucket holds one key or few."""
        slots = wanted >> np.uint64(64 - (len(self.buckets) - 1).bit_length() + 1)
        places, ends = self.buckets[slots].astype(np.int64), self.buckets[slots + np.uint64(1)]
        # An empty bucket's place is another key's, which differs; behind the last key there is none.
        found = np.where(self.keys.take(places, mode="clip") == wanted, places, -1)
        left = np.flatnonzero((found < 0) & (places + 1 < ends))
        while len(left):
            places[left] += 1
            right = self.keys[places[left]] == wanted[left]
            found[left[right]] = places[left[right]]
            left = left[~right]
            left = left[places[left] + 1 < ends[left]]
        return found


Values = TypeVar("Values", npt.NDArray[np.int32], U64)


def expand(owners: Ints, begin: Ints, counts: Ints, values: Values) -> tuple[Ints, Values]:
    """Each owner with each of the `counts` values that stand from `begin` on."""
    total = int(counts.sum())
    if total == len(counts) and counts.all():
        return owners, values[begin]
    ends = np.cumsum(counts)
    within = np.arange(total) - np.repeat(ends - counts, counts)
    return np.repeat(owners, counts), values[np.repeat(begin, counts) + within]


_TRIES = 300
"""Multipliers that are tried before the slots are doubled."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Few keys, of which many hashes may be one: each has a slot for itself."""

    keys: U64
    """[keys + 1] Behind a first one that stands for none."""
    slots: npt.NDArray[np.uint16]
    """[2**n] The place among `keys` of the key that belongs here, or 0."""
    multiplier: np.uint64
    shift: np.uint64

    @classmethod
    def build(cls, keys: U64) -> Vocabulary:
        """Keys keep their order; each must be there once."""
        multiplier = 1
        # With so many slots about four pairs of keys collide, and one multiplier in fifty parts them all.
        for attempt in count():
            size = (len(keys) ** 2 // 8).bit_length() + attempt // _TRIES
            multiplier = (multiplier * 0xD1342543DE82EF95 + 2) & ((1 << 64) - 1) | 1
            places = (keys * np.uint64(multiplier)) >> np.uint64(64 - size)
            if len(np.unique(places)) == len(keys):
                break
        slots = np.zeros(1 << size, np.uint16)
        slots[places] = np.arange(1, len(keys) + 1)
        known = np.concatenate((np.zeros(1, np.uint64), keys))
        return cls(known, slots, np.uint64(multiplier), np.uint64(64 - size))

    def find(self, hashes: U64) -> npt.NDArray[np.intp]:
        """[hashes] 1 + the place of each among the keys that it was built of, 0 where it is none."""
        places = (hashes * self.multiplier) >> self.shift
        found = self.slots[places.view(np.int64)].astype(np.intp)
        found *= self.keys[found] == hashes
        return found
