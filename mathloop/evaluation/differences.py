"""Paired differences of two scores, and whether "one is above the other" holds: the only place that decides.

Both sides answered the same problems, so that the difference is taken per problem before the problems are
resampled. The gate, the claims of a report and comparisons of models use these marks:

    holds          the whole 95 % interval is above the margin
    fails          the whole interval is below it
    within noise   the interval contains it: these problems cannot tell
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mathloop.evaluation.bootstrap import bootstrap_interval

Mark = Literal["holds", "within noise", "fails"]
MARKS: tuple[Mark, ...] = ("holds", "within noise", "fails")


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

    Several modes are averaged per problem. Problems of one cluster are resampled together, as
    `bootstrap_interval` says. Raises ValueError without problems.
    """
    differences = (greater - lesser).reshape(len(greater), -1).mean(axis=1)
    low, high = bootstrap_interval(differences[:, None], seed=seed, clusters=clusters, resamples=resamples)
    return Difference(float(differences.mean()), float(low[0]), float(high[0]), len(differences))
