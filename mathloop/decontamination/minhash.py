"""MinHash: finds texts that are near-copies of one another, without comparing all pairs.

A text is the set of its runs of `shingle` tokens (as decontamination reads tokens: any case, LaTeX or not,
ideographs one by one). The share of equal numbers in the signatures of two texts estimates the Jaccard
similarity of their sets (Broder 1997). Texts that agree on a whole band of their signatures are candidates.
At a similarity of 0.8 a pair is a candidate with probability 0.998, and accepted with 0.98.

`NearCopies` holds an index in memory, about 2.5 KB per text; `mathloop.corpus.deduplication` has one on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.hashing import U64, mix
from mathloop.decontamination.tables import expand
from mathloop.decontamination.tokenization import tokenize

U32 = npt.NDArray[np.uint32]

BANDS, ROWS = 20, 6
PERMUTATIONS = BANDS * ROWS
SHINGLE = 5
"""Tokens per shingle; 3 for texts of one or two sentences."""
JACCARD = 0.8
"""Similarity from which a text counts as a near-copy."""
_BATCH = 1024
"""Texts that are read together; their shingles fit the processor's cache."""
_CHARACTERS = 1 << 20
"""Characters that are read together."""
_DEVIATIONS = 2.0
"""Estimates this many standard deviations below the threshold are accepted, so that few copies are missed."""
_RANDOM = np.random.default_rng(20_240_912)
_FACTORS = _RANDOM.integers(0, 1 << 32, PERMUTATIONS, dtype=np.uint32) | np.uint32(1)
_TERMS = _RANDOM.integers(0, 1 << 32, PERMUTATIONS, dtype=np.uint32)


class Signatures(NamedTuple):
    """Signatures of a batch of texts."""

    values: U32
    """[texts, PERMUTATIONS]"""
    filled: npt.NDArray[np.bool_]
    """[texts] Whether the text has a token; texts without any are copies of nothing."""

    def keys(self) -> U64:
        """[texts, BANDS] A hash of each band; texts with an equal one are candidates."""
        bands = self.values.reshape(len(self.values), BANDS, ROWS)
        keys = np.tile(np.arange(1, BANDS + 1, dtype=np.uint64), (len(bands), 1))
        for row in range(ROWS):
            keys = mix(keys * np.uint64(0x9E3779B97F4A7C15) + bands[:, :, row])
        return keys


def signatures(texts: Sequence[str], shingle: int = SHINGLE) -> Signatures:
    """The signatures of texts; a text with fewer tokens than `shingle` is one shingle."""
    parts: list[Signatures] = []
    start = 0
    while start < len(texts):
        end, size = start + 1, len(texts[start])
        while end < len(texts) and end - start < _BATCH and size + len(texts[end]) <= _CHARACTERS:
            size += len(texts[end])
            end += 1
        parts.append(_signatures(texts[start:end], shingle))
        start = end
    if not parts:
        return Signatures(np.zeros((0, PERMUTATIONS), np.uint32), np.zeros(0, np.bool_))
    return Signatures(np.concatenate([p.values for p in parts]), np.concatenate([p.filled for p in parts]))


def _signatures(texts: Sequence[str], shingle: int) -> Signatures:
    tokens = tokenize(texts)
    sizes = np.diff(tokens.offsets)
    filled = sizes > 0
    values = np.zeros((len(texts), PERMUTATIONS), np.uint32)
    if not filled.any():
        return Signatures(values, filled)
    starts, sizes = tokens.offsets[:-1][filled], sizes[filled]
    counts = np.maximum(sizes - shingle + 1, 1)
    first = np.cumsum(counts) - counts
    places = np.arange(len(tokens.hashes), dtype=np.int32)
    owners, begin = expand(np.arange(len(counts)), starts, counts, places)
    runs = mix(tokens.runs(begin.astype(np.int64), np.minimum(sizes, shingle)[owners]))
    hashes = (runs >> np.uint64(32)).astype(np.uint32)
    moved = np.empty_like(hashes)
    own = np.empty((PERMUTATIONS, len(counts)), np.uint32)
    for number in range(PERMUTATIONS):
        # A permutation of the 32-bit numbers: the factor is odd. The hashes are random already.
        np.multiply(hashes, _FACTORS[number], out=moved)
        moved += _TERMS[number]
        np.minimum.reduceat(moved, first, out=own[number])
    values[filled] = own.T
    return Signatures(values, filled)


def resemblance(ours: U32, theirs: U32) -> npt.NDArray[np.float64]:
    """[pairs] Estimated Jaccard similarity of each pair of signatures, [pairs, PERMUTATIONS] each."""
    return np.asarray((ours == theirs).mean(axis=-1))


def least_estimate(jaccard: float) -> float:
    """The estimate from which a pair is accepted as similar by at least `jaccard`."""
    return jaccard - _DEVIATIONS * float(np.sqrt(jaccard * (1 - jaccard) / PERMUTATIONS))


class NearCopies:
    """An index in memory of texts that are no near-copies of one another."""

    def __init__(self, jaccard: float = JACCARD, shingle: int = SHINGLE) -> None:
        """`jaccard` is the similarity (0 to 1) from which a text is a copy; `shingle` in tokens."""
        self._least, self._shingle = least_estimate(jaccard), shingle
        self._first: dict[int, int] = {}
        """Band's key → number of the first text with it."""
        self._values = np.empty((_BATCH, PERMUTATIONS), np.uint32)
        self._numbers: list[int] = []
        """Row of `_values` → number of the text."""
        self._count = 0

    def add(self, texts: Sequence[str]) -> list[int | None]:
        """For each text, the number of the indexed text that it is a near-copy of, or None.

        Texts are numbered from 0 in the order in which they were passed, copies included. Those that are no
        copies are added to the index one after another, so that later texts of the same call are compared
        with them.
        """
        batch = signatures(texts, self._shingle)
        copies: list[int | None] = []
        for values, keys, filled in zip(batch.values, batch.keys().tolist(), batch.filled, strict=True):
            copy = self._find(values, keys) if filled else None
            if copy is None and filled:
                self._insert(values, keys)
            copies.append(copy)
            self._count += 1
        return copies

    def find(self, texts: Sequence[str]) -> list[int | None]:
        """As `add`, without adding anything."""
        batch = signatures(texts, self._shingle)
        return [
            self._find(values, keys) if filled else None
            for values, keys, filled in zip(batch.values, batch.keys().tolist(), batch.filled, strict=True)
        ]

    def _find(self, values: U32, keys: list[int]) -> int | None:
        rows = sorted({self._first[key] for key in keys if key in self._first})
        if not rows:
            return None
        near = resemblance(self._values[rows], values)
        best = int(near.argmax())
        return self._numbers[rows[best]] if near[best] >= self._least else None

    def _insert(self, values: U32, keys: list[int]) -> None:
        row = len(self._numbers)
        if row == len(self._values):
            self._values = np.concatenate((self._values, np.empty_like(self._values)))
        self._values[row] = values
        self._numbers.append(self._count)
        for key in keys:
            self._first.setdefault(key, row)
