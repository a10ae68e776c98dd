"""Percentile bootstrap over problems."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4_000_000
"""Resampling weights held at once: 32 MB."""


def bootstrap_interval(
    values: NDArray[np.float64],
    *,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 2_000,
    level: float = 0.95,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends, each [columns], of the percentile interval of each column's mean.

    `values` is [problems, columns], one row a problem. Problems are drawn with replacement, and every column
    sees the same draws. For paired data give one column of differences. Where all problems agree the interval
    has no width: a bootstrap cannot see what it never drew.

    `clusters` [problems] says which problems are variations of one thing: these are drawn together, for they
    are right and wrong together, and counting each by itself would make the interval too narrow.
    """
    problems = len(values)
    if problems == 0:
        raise ValueError("a bootstrap needs at least one problem")
    _, member = np.unique([str(name) for name in clusters or range(problems)], return_inverse=True)
    drawn = int(member.max()) + 1
    sizes = np.bincount(member).astype(np.float64)
    sums = np.zeros((drawn, values.shape[1]))
    np.add.at(sums, member, values)
    random = np.random.default_rng([seed, drawn])
    block = max(1, _BLOCK // drawn)
    means = []
    for start in range(0, resamples, block):
        draws = random.multinomial(drawn, np.full(drawn, 1.0 / drawn), size=min(block, resamples - start))
        means.append(draws @ sums / (draws @ sizes)[:, None])
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail], axis=0)
    center = values.mean(axis=0)
    # Rounding can put the ends of a zero-width interval an ulp off its mean.
    return np.minimum(low, center), np.maximum(high, center)
