"""The roles of models in a round, and the few scores that rounds are compared by."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mathloop.evaluation.config import KINDS, Kind
from mathloop.evaluation.metrics import Outcomes

CHALLENGER = "challenger"
CHAMPIONS = ("champion", "base")
"""Labels of the champion; in a first round the base model is the champion."""


def champion_of(outcomes: Outcomes) -> str | None:
    """The label of the champion's responses; None if neither champion nor base was evaluated."""
    present = {model for model, _ in outcomes.entries}
    return next((model for model in CHAMPIONS if model in present), None)


def role_scores(outcomes: Outcomes, weights: Mapping[str, float] | None = None) -> dict[str, float]:
    """`champion_greedy`, `challenger_greedy`, `champion_maj`, …: percent, means over the champion's modes.

    With the gate's `weights` these are the averages that it compares (`compared_scores`, `weighted_score`);
    without, each benchmark weighs 1. The names do not depend on k, so that rounds can be compared; metrics
    that were not measured are left out.
    """
    champion = champion_of(outcomes)
    modes = [mode for model, mode in outcomes.entries if model == (champion or CHALLENGER)]
    scores: dict[str, float] = {}
    for role, model in (("champion", champion), ("challenger", CHALLENGER)):
        for kind in (kind for kind in KINDS if kind != "mean" and model is not None):
            if any(kind in outcomes.scores(str(model), mode, max(outcomes.drawn, 1)) for mode in modes):
                found = compared_scores(outcomes, str(model), modes, kind, asked_of=champion or CHALLENGER)
                scores[f"{role}_{kind}"] = round(
                    100 * weighted_score(found, outcomes.benchmarks, weights or {}), 4
                )
    return scores


def compared_scores(
    outcomes: Outcomes, model: str, modes: Sequence[str], kind: Kind, *, asked_of: str
) -> NDArray[np.float64]:
    """[problems, modes]: a model's scores; NaN where the model `asked_of` was not asked, as without tools.

    A model without a response where the other one was asked scores 0. A problem that the other one was asked
    in no mode counts in all of them.
    """
    k = max(outcomes.drawn, 1)
    zeros = np.zeros(len(outcomes.problems))
    scores = np.stack([outcomes.scores(model, mode, k).get(kind, zeros) for mode in modes], axis=1)
    asked = [outcomes.measured(asked_of, mode, greedy=kind == "greedy") for mode in modes]
    counted = np.stack(asked, axis=1)
    counted[~counted.any(axis=1)] = True
    return np.where(counted, scores, np.nan)


def mean_score(scores: NDArray[np.float64]) -> float:
    """The mean over problems of a problem's mean over its modes, of scores [problems, modes]."""
    return float(np.nanmean(scores, axis=1).mean())


def weighted_score(
    scores: NDArray[np.float64], benchmarks: Sequence[str], weights: Mapping[str, float]
) -> float:
    """The mean of the benchmarks' `mean_score`, weighed as their differences are (`weighted_difference`).

    `scores` are [problems, modes], `benchmarks` [problems]; at least one of several has a weight above 0.
    """
    names = list(dict.fromkeys(benchmarks))
    if len(names) < 2:
        return mean_score(scores)
    of = np.array(benchmarks)
    means = [mean_score(scores[of == name]) for name in names]
    return float(np.average(means, weights=[weights.get(name, 1.0) for name in names]))
