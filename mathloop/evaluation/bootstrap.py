"""Percentile bootstrap over problems."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4_000_000
"""Resampling weights held at once: 32 MB."""


def bootstrap_interval(
    values: NDArray[np.float64], *, seed: int, resamples: int = 2_000, level: float = 0.95
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends, each [columns], of the percentile interval of each column's mean.

    `values` is [problems, columns], one row a problem. Problems are drawn with replacement, and every column
    sees the same draws. For paired data give one column of differences. Where all problems agree the interval
    has no width: a bootstrap cannot see what it never drew.
    """
    problems = len(values)
    if problems == 0:
        raise ValueError("a bootstrap needs at least one problem")
    random = np.random.default_rng([seed, problems])
    block = max(1, _BLOCK // problems)
    means = []
    for start in range(0, resamples, block):
        draws = random.multinomial(
            problems, np.full(problems, 1.0 / problems), size=min(block, resamples - start)
        )
        means.append(draws @ values / problems)
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail], axis=0)
    center = values.mean(axis=0)
    # Rounding can put the ends of a zero-width interval an ulp off its mean.
    return np.minimum(low, center), np.maximum(high, center)
