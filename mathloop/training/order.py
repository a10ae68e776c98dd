"""The data order: each step's batch is a pure function of seed and step, for any number of ranks."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache

import xxhash


def steps_of(samples: int, batch_size: int, epochs: int) -> int:
    """Optimizer steps in `epochs` epochs of whole batches; at least one."""
    return max(1, epochs * samples // batch_size)


def hash_data(rows: Iterable[Sequence[int]]) -> str:
    """A hash of these rows of tokens and their order."""
    digest = xxhash.xxh3_128()
    for row in rows:
        digest.update(array("q", [len(row), *row]).tobytes())
    return digest.hexdigest()


def batch_of(samples: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Indices of a step's batch: the next `batch_size` of an endless sequence of shuffled epochs.

    A batch may span two epochs, so that every batch is full and no sample is left out.
    """
    indices: list[int] = []
    while len(indices) < batch_size:
        epoch, at = divmod(step * batch_size + len(indices), samples)
        indices += _shuffled(samples, epoch, seed)[at : at + batch_size - len(indices)]
    return indices


@lru_cache(maxsize=2)
def _shuffled(samples: int, epoch: int, seed: int) -> list[int]:
    indices = list(range(samples))
    random.Random(f"{seed}-{epoch}").shuffle(indices)
    return indices
