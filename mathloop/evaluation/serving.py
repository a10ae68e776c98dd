"""The strategy that a champion is served with: chosen on one half of its evaluation, measured on the other.

The best of several measured strategies looks better than it is: of equal ones, the luckiest is chosen. Its
score on problems that had no part in the choice is not raised by that.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.roles import compared_scores, weighted_score
from mathloop.registry import ServingDefaults
from mathloop.voting import STRATEGIES

SPLIT_SEED = 22
"""Of the two halves: fixed, so that the same evaluation gives the same choice."""


def choose_serving(
    outcomes: Outcomes, model: str, temperature: float, weights: Mapping[str, float]
) -> ServingDefaults | None:
    """The best strategy of `model` by the mean over its modes; of equal ones the first of the table.

    None where greedy decoding or the samples were not measured, or where there are not two problems. Variants
    of one problem are in one half.

    Args:
        temperature: of its samples.
        weights: a benchmark's weight in the mean, as in the gate; 1 unless given.
    """
    modes = [mode for one, mode in outcomes.entries if one == model]
    k = max(outcomes.drawn, 1)
    kinds = [kind for kind in STRATEGIES if all(kind in outcomes.scores(model, mode, k) for mode in modes)]
    chooses = _first_half(outcomes)
    if not modes or not {"greedy", "maj"} <= set(kinds) or chooses.all() or not chooses.any():
        return None
    scores = {kind: compared_scores(outcomes, model, modes, kind, asked_of=model) for kind in kinds}
    names = np.array(outcomes.benchmarks)

    def score(kind: str, half: NDArray[np.bool_]) -> float:
        return weighted_score(scores[kind][half], list(names[half]), weights)

    if not all(any(weights.get(name, 1.0) for name in set(names[half])) for half in (chooses, ~chooses)):
        return None
    best = max(kinds, key=lambda kind: score(kind, chooses))  # max keeps the first of equals
    samples = 1 if STRATEGIES[best].needs == "greedy" else k
    rest = ~chooses
    return ServingDefaults(
        best, samples, temperature, score(best, rest), score("greedy", rest), int(rest.sum())
    )


def _first_half(outcomes: Outcomes) -> NDArray[np.bool_]:
    """[problems]: those that choose; of each benchmark a half."""
    clusters, benchmarks = np.array(outcomes.clusters), np.array(outcomes.benchmarks)
    random = np.random.default_rng(SPLIT_SEED)
    chosen = np.zeros(len(clusters), dtype=bool)
    for name in dict.fromkeys(benchmarks.tolist()):
        own = np.unique(clusters[benchmarks == name])
        half = random.permutation(own)[: (len(own) + 1) // 2]
        chosen |= (benchmarks == name) & np.isin(clusters, half)
    return chosen
