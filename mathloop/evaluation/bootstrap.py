"""Percentile bootstrap over problems."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4_000_000
"""Resampling weights in memory at a time: 32 MB."""


def bootstrap_interval(
    values: NDArray[np.float64],
    *,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 2_000,
    level: float = 0.95,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends, each [columns], of the percentile interval of each column's mean.

    `values` is [problems, columns]. Problems are resampled with replacement, with the same resamples for
    every column. For paired data pass one column of differences. If all problems have the same value, the
    interval has zero width.

    `clusters` [problems] marks problems that are variants of one original. They are resampled together, since
    their results are correlated: resampling them independently would make the interval too narrow.
    """
    means = resampled_means(values, seed=seed, clusters=clusters, resamples=resamples)
    return percentile_interval(means, values.mean(axis=0), level)


def resampled_means(
    values: NDArray[np.float64],
    *,
    seed: int | Sequence[int],
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 2_000,
) -> NDArray[np.float64]:
    """Means [resamples, columns] of resamples of `values` [problems, columns]; see `bootstrap_interval`."""
    problems = len(values)
    if problems == 0:
        raise ValueError("a bootstrap needs at least one problem")
    _, member = np.unique([str(name) for name in clusters or range(problems)], return_inverse=True)
    groups = int(member.max()) + 1
    sizes = np.bincount(member).astype(np.float64)
    sums = np.zeros((groups, values.shape[1]))
    np.add.at(sums, member, values)
    random = np.random.default_rng([*([seed] if isinstance(seed, int) else seed), groups])
    block = max(1, _BLOCK // groups)
    means = []
    for start in range(0, resamples, block):
        draws = random.multinomial(groups, np.full(groups, 1.0 / groups), size=min(block, resamples - start))
        means.append(draws @ sums / (draws @ sizes)[:, None])
    return np.concatenate(means)


def percentile_interval(
    means: NDArray[np.float64], center: NDArray[np.float64], level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends, each [columns], of `means` [resamples, columns], around `center` [columns]."""
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    # Rounding can move the ends of a zero-width interval off its mean by one ulp.
    return np.minimum(low, center), np.maximum(high, center)
