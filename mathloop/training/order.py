"""Which samples a step takes: a pure function of the seed and the step, whatever the number of ranks."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Sequence
from functools import lru_cache

import xxhash


def steps_of(samples: int, batch_size: int, epochs: int) -> int:
    """Optimizer steps of `epochs` passes, in whole batches; at least one."""
    return max(1, epochs * samples // batch_size)


def name_data(rows: Iterable[Sequence[int]]) -> str:
    """A name for these rows of tokens, the same for the same rows in the same order."""
    digest = xxhash.xxh3_128()
    for row in rows:
        digest.update(array("q", [len(row), *row]).tobytes())
    return digest.hexdigest()


def batch_of(samples: int, batch_size: int, step: int, seed: int) -> list[int]:
    """Indices of a step's batch: the next `batch_size` of an endless row of shuffled passes.

    A batch may end one pass and begin the next, so that every batch is whole and no sample is left out.
    """
    taken: list[int] = []
    while len(taken) < batch_size:
        epoch, at = divmod(step * batch_size + len(taken), samples)
        taken += _shuffled(samples, epoch, seed)[at : at + batch_size - len(taken)]
    return taken


@lru_cache(maxsize=2)
def _shuffled(samples: int, epoch: int, seed: int) -> list[int]:
    indices = list(range(samples))
    random.Random(f"{seed}-{epoch}").shuffle(indices)
    return indices
