"""The roles of models in a round, and the few scores that rounds are compared by."""

from __future__ import annotations

from mathloop.evaluation.config import KINDS
from mathloop.evaluation.metrics import Outcomes

CHALLENGER = "challenger"
CHAMPIONS = ("champion", "base")
"""Labels of the champion; in a first round the base model is the champion."""


def champion_of(outcomes: Outcomes) -> str | None:
    """The label of the champion's responses; None if neither champion nor base was evaluated."""
    present = {model for model, _ in outcomes.entries}
    return next((model for model in CHAMPIONS if model in present), None)


def role_scores(outcomes: Outcomes) -> dict[str, float]:
    """`champion_greedy`, `challenger_greedy`, `champion_maj`, …: percent, means over the champion's modes.

    These are the averages that the gate compares: in a mode without responses a model scores 0. The names do
    not depend on k, so that rounds can be compared; metrics that were not measured are left out.
    """
    k = max(outcomes.drawn, 1)
    champion = champion_of(outcomes)
    modes = [mode for model, mode in outcomes.entries if model == (champion or CHALLENGER)]
    scores: dict[str, float] = {}
    for role, model in (("champion", champion), ("challenger", CHALLENGER)):
        by_mode = [outcomes.scores(model, mode, k) for mode in modes if model is not None]
        for kind in (kind for kind in KINDS if kind != "mean"):
            means = [float(one[kind].mean()) if kind in one else 0.0 for one in by_mode]
            if any(kind in one for one in by_mode):
                scores[f"{role}_{kind}"] = round(100 * sum(means) / len(means), 4)
    return scores
