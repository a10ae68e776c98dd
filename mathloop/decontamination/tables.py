"""Hash tables in arrays, looked up for a whole batch of hashes at once."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.batches import Arrays
from mathloop.decontamination.hashing import U64, Ints

_FIELDS = ("keys", "starts", "values", "bits", "buckets")
_LOAD_BITS = 6
"""The filter has 2**6 bits per key: about one in 64 hashes that are not keys passes it."""


@dataclass(frozen=True, slots=True)
class Table:
    """Maps keys to their values. All arrays may be memory maps."""

    keys: U64
    """[keys] Sorted."""
    starts: npt.NDArray[np.uint32]
    """[keys + 1] Where each key's values begin."""
    values: npt.NDArray[np.int32]
    bits: npt.NDArray[np.uint8]
    """A filter on the upper bits of the hash, which rejects most hashes that are not keys."""
    buckets: npt.NDArray[np.uint32]
    """[2**n + 1] Where the keys of each bucket begin; a bucket is the n upper bits of the hash."""

    @classmethod
    def build(cls, keys: U64, values: Ints, most: int | None = None) -> Table:
        """Stores each pair once; keys with more than `most` values are left out."""
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
        """The table stored under `name`."""
        return cls(*(arrays[f"{name}.{field}"] for field in _FIELDS))

    def named(self, name: str) -> dict[str, npt.NDArray[Any]]:
        """The table's arrays, for storing under `name`."""
        return {f"{name}.{field}": getattr(self, field) for field in _FIELDS}

    def find(self, hashes: U64) -> tuple[Ints, npt.NDArray[np.int32]]:
        """(position in `hashes`, value) of every match, by position."""
        hits, found = self.locate(hashes)
        begin = self.starts[found].astype(np.int64)
        return expand(hits, begin, self.starts[found + 1] - begin, self.values)

    def has(self, hashes: U64) -> npt.NDArray[np.bool_]:
        """[hashes] Whether each is a key."""
        is_key = np.zeros(len(hashes), bool)
        is_key[self.locate(hashes)[0]] = True
        return is_key

    def locate(self, hashes: U64) -> tuple[Ints, Ints]:
        """(position in `hashes`, position in `keys`) of every hash that is a key."""
        slots = (hashes >> np.uint64(64 - (len(self.bits) * 8).bit_length() + 1)).view(np.int64)
        passed = self.bits[slots >> 3] >> (slots.astype(np.uint8) & np.uint8(7))
        hits = np.flatnonzero((passed & np.uint8(1)).view(np.bool_))
        if not len(hits) or not len(self.keys):
            return hits[:0], hits[:0]
        found = self._places(hashes[hits])
        right = np.flatnonzero(found >= 0)
        return hits[right], found[right]

    def _places(self, wanted: U64) -> Ints:
        """[wanted] The position of each in `keys`, or -1: a bucket has few keys."""
        slots = wanted >> np.uint64(64 - (len(self.buckets) - 1).bit_length() + 1)
        places, ends = self.buckets[slots].astype(np.int64), self.buckets[slots + np.uint64(1)]
        # An empty bucket points at another bucket's key, which differs, or past the last key.
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
    """Pairs each owner with its `counts` values, which start at `begin`."""
    total = int(counts.sum())
    if total == len(counts) and counts.all():
        return owners, values[begin]
    ends = np.cumsum(counts)
    within = np.arange(total) - np.repeat(ends - counts, counts)
    return np.repeat(owners, counts), values[np.repeat(begin, counts) + within]


_TRIES = 300
"""Multipliers to try before doubling the slots."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """A perfect hash table of a few keys: each has its own slot."""

    keys: U64
    """[keys + 1] After a first entry that means none."""
    slots: npt.NDArray[np.uint16]
    """[2**n] The position in `keys` of the slot's key, or 0."""
    multiplier: np.uint64
    shift: np.uint64

    @classmethod
    def build(cls, keys: U64) -> Vocabulary:
        """Keeps the order of the keys, which must be distinct."""
        multiplier = 1
        # With this many slots about four pairs of keys collide; one multiplier in fifty has no collision.
        for attempt in count():
            size = (len(keys) ** 2 // 8).bit_length() + attempt // _TRIES
            multiplier = (multiplier * 0xD1342543DE82EF95 + 2) & ((1 << 64) - 1) | 1
            places = (keys * np.uint64(multiplier)) >> np.uint64(64 - size)
            if len(np.unique(places)) == len(keys):
                break
        slots = np.zeros(1 << size, np.uint16)
        slots[places] = np.arange(1, len(keys) + 1)
        entries = np.concatenate((np.zeros(1, np.uint64), keys))
        return cls(entries, slots, np.uint64(multiplier), np.uint64(64 - size))

    def find(self, hashes: U64) -> npt.NDArray[np.intp]:
        """[hashes] 1 + the position of each among the keys passed to `build`, or 0."""
        places = (hashes * self.multiplier) >> self.shift
        found = self.slots[places.view(np.int64)].astype(np.intp)
        found *= self.keys[found] == hashes
        return found
