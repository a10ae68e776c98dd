"""Paired differences of two scores, and whether "one is above the other" holds: the only place that decides.

Both sides answered the same problems, so that the difference is taken per problem before the problems are
resampled. The gate, the claims of a report and comparisons of models use these marks:

    holds          the whole 95 % interval is above the margin
    fails          the whole interval is below it
    within noise   the interval contains it: these problems cannot tell
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mathloop.evaluation.bootstrap import bootstrap_interval, percentile_interval, resampled_means

Mark = Literal["holds", "within noise", "fails"]


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference per problem, with its 95 % paired bootstrap interval; fractions, -1 to 1."""

    value: float
    low: float
    high: float
    n: int
    """Problems."""

    def mark(self, margin: float = 0.0) -> Mark:
        """Whether the difference is above `margin`; an end of the interval on the margin is within noise."""
        if self.low > margin:
            return "holds"
        return "fails" if self.high < margin else "within noise"


def paired_difference(
    greater: NDArray[np.float64],
    lesser: NDArray[np.float64],
    *,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 2_000,
) -> Difference:
    """The mean of `greater` - `lesser`, each [problems] or [problems, modes], in the same order.

    Several modes are averaged per problem, without those that are NaN. Problems of one cluster are resampled
    together, as `bootstrap_interval` says. Raises ValueError without problems.
    """
    differences = np.nanmean((greater - lesser).reshape(len(greater), -1), axis=1)
    low, high = bootstrap_interval(differences[:, None], seed=seed, clusters=clusters, resamples=resamples)
    return Difference(float(differences.mean()), float(low[0]), float(high[0]), len(differences))


def crossed_difference(
    greater: NDArray[np.float64],
    lesser: NDArray[np.float64],
    *,
    seed: int,
    clusters: Sequence[Hashable] | None = None,
    resamples: int = 2_000,
) -> Difference:
    """The mean of `greater` - `lesser`, each [seeds, problems], whose interval is over seeds and problems.

    Every seed answered the same problems. Seeds and clusters of problems are resampled independently of each
    other, and each resample is the mean over all pairs of both (a pigeonhole bootstrap; Owen 2007,
    doi:10.1214/07-AOAS122), which is wider than resampling problems alone. With one seed it is
    `paired_difference`. Raises ValueError without seeds or problems.
    """
    differences = greater - lesser
    if not differences.size:
        raise ValueError("a difference needs at least one seed and one problem")
    rows = np.arange(len(differences))
    drawn_seeds = np.random.default_rng([seed, len(rows), 1]).choice(rows, (resamples, len(rows)))
    per_seed = resampled_means(differences.T, seed=seed, clusters=clusters, resamples=resamples)
    means = np.take_along_axis(per_seed, drawn_seeds, axis=1).mean(axis=1, keepdims=True)
    return _difference(np.array([differences.mean()]), means, differences.shape[1])


def least_difference(n: int) -> float:
    """The smallest mean difference that `n` problems can show, 0 to 1: k of them better, and none worse.

    The interval is above zero once fewer than 2.5 % of the resamples hold none of the k: (1 - k/n)^n < 0.025.
    Problems that go both ways make it larger.
    """
    return next((k / n for k in range(1, n + 1) if (1 - k / n) ** n < 0.025), 1.0)


def unseen_share(n: int) -> float:
    """The largest share of problems, 0 to 1, of which `n` hold none in 2.5 % of draws: 1 - 0.025^(1/n).

    The end of the two-sided 95 % interval (Clopper-Pearson) that a bootstrap cannot give where all problems
    are alike and its interval has no width.
    """
    return 1.0 - 0.025 ** (1.0 / n) if n else 1.0


def weighted_difference(
    greater: NDArray[np.float64],
    lesser: NDArray[np.float64],
    benchmarks: Sequence[str],
    weights: Mapping[str, float],
    *,
    seed: int,
    clusters: Sequence[Hashable],
    resamples: int = 2_000,
) -> tuple[Difference, dict[str, Difference]]:
    """The weighted mean of the benchmarks' paired differences, and each benchmark's own.

    Arrays are as in `paired_difference`; `benchmarks` and `clusters` are [problems]. A benchmark weighs 1
    unless `weights` says otherwise, however many problems it has. For the interval, each benchmark is
    resampled by itself. With one benchmark both are `paired_difference`. Raises ValueError if all weights
    are 0.
    """
    names = list(dict.fromkeys(benchmarks))
    total = sum(weights.get(name, 1.0) for name in names)
    if names and not total:
        raise ValueError("every benchmark has the weight 0")
    if len(names) < 2:
        whole = paired_difference(greater, lesser, seed=seed, clusters=clusters, resamples=resamples)
        return whole, dict.fromkeys(names, whole)
    own: dict[str, Difference] = {}
    value, means, n = np.zeros(1), np.zeros((resamples, 1)), 0
    for number, name in enumerate(names):
        chosen = [index for index, benchmark in enumerate(benchmarks) if benchmark == name]
        members = [clusters[index] for index in chosen]
        differences = np.nanmean((greater - lesser)[chosen].reshape(len(chosen), -1), axis=1)[:, None]
        drawn = resampled_means(differences, seed=[seed, number], clusters=members, resamples=resamples)
        center = differences.mean(axis=0)
        own[name] = _difference(center, drawn, len(chosen))
        share = weights.get(name, 1.0) / total
        value, means = value + share * center, means + share * drawn
        n += len(chosen) if share else 0
    return _difference(value, means, n), own


def _difference(center: NDArray[np.float64], means: NDArray[np.float64], n: int) -> Difference:
    low, high = percentile_interval(means, center)
    return Difference(float(center[0]), float(low[0]), float(high[0]), n)
