"""The paper's claims as orderings of scores that a round can test (Paper §5, tables 4 to 8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mathloop.evaluation.config import Kind
from mathloop.evaluation.differences import Difference, Mark, paired_difference
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.roles import CHALLENGER
from mathloop.evaluation.table import NAMES, metric_name

LARGE_NUMBERS = "family:large_numbers"
"""The problem family whose arithmetic is too hard without a tool."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """One claim: `greater` scores above `lesser`."""

    claim: str
    lesser: str
    lesser_value: float
    greater: str
    greater_value: float
    difference: Difference
    """`greater` minus `lesser`, paired over problems."""
    stage: str = ""
    """The training stage that the claim is about; empty if it is about none."""

    @property
    def mark(self) -> Mark:
        """Whether the claim holds on these problems, fails, or is within noise."""
        return self.difference.mark()


def check_orderings(*rounds: Outcomes, challenger: str = CHALLENGER, seed: int = 0) -> list[Ordering]:
    """Tests each claim on the outcomes of a round, or of several that are taken together.

    Training: SFT above base, and the challenger above SFT (greedy). Selection: for the challenger, maj@k
    above greedy, and rm@k above maj@k, with the k that was drawn. These compare means over the modes that
    both sides have. Tools: for the challenger, TIR above CoT (greedy) on the family `large_numbers`. Claims
    about models, metrics or families without scores in each round are left out, and those about selection
    where a round drew one sample: there is nothing to choose among. A problem of several rounds is one
    cluster.
    """
    name = NAMES.get(challenger, challenger)
    candidates = [
        _ordering(
            rounds, "SFT improves on the base model", ("base", "greedy"), ("sft", "greedy"), seed, "sft"
        ),
        _ordering(
            rounds,
            "Reinforcement learning improves on SFT",
            ("sft", "greedy"),
            (challenger, "greedy"),
            seed,
            "grpo",
        ),
        _ordering(
            rounds,
            f"Majority vote beats greedy decoding ({name})",
            (challenger, "greedy"),
            (challenger, "maj"),
            seed,
        ),
        _ordering(
            rounds,
            f"The reward model beats majority vote ({name})",
            (challenger, "maj"),
            (challenger, "rm"),
            seed,
            "reward_model",
        ),
        _tools(rounds, challenger, seed),
    ]
    return [ordering for ordering in candidates if ordering is not None]


def _ordering(
    rounds: tuple[Outcomes, ...],
    claim: str,
    lesser: tuple[str, Kind],
    greater: tuple[str, Kind],
    seed: int,
    stage: str = "",
) -> Ordering | None:
    below, above, clusters = [], [], []
    for outcomes in rounds:
        if greater[1] != "greedy" and outcomes.drawn < 2:
            return None
        modes = sorted({mode for _, mode in outcomes.entries})
        pairs = [(_scores(outcomes, mode, lesser), _scores(outcomes, mode, greater)) for mode in modes]
        both = [(one, other) for one, other in pairs if one is not None and other is not None]
        if not both:
            return None
        lower, upper = (np.array(side) for side in zip(*both, strict=True))  # [modes, problems]
        counted = ~np.isnan(lower + upper)
        asked = np.flatnonzero(counted.any(axis=0))
        if not len(asked):
            return None
        below.append(np.nanmean(np.where(counted, lower, np.nan)[:, asked], axis=0))
        above.append(np.nanmean(np.where(counted, upper, np.nan)[:, asked], axis=0))
        names = outcomes.clusters
        clusters += [names[index] for index in asked]
    labels = [
        shown if lesser[0] == greater[0] else f"{NAMES.get(model, model)} {shown}"
        for model, metric in (lesser, greater)
        for shown in [metric_name(metric, rounds[0].drawn)]
    ]
    return _compare(claim, (labels[0], labels[1]), below, above, clusters, seed, stage)


def _tools(rounds: tuple[Outcomes, ...], challenger: str, seed: int) -> Ordering | None:
    below, above, clusters = [], [], []
    for outcomes in rounds:
        cot, tir = (_scores(outcomes, mode, (challenger, "greedy")) for mode in ("cot", "tir"))
        if cot is None or tir is None:
            return None
        both = ~np.isnan(cot + tir)
        large = [index for index, one in enumerate(outcomes.groups) if LARGE_NUMBERS in one and both[index]]
        if not large:
            return None
        below.append(cot[large])
        above.append(tir[large])
        names = outcomes.clusters
        clusters += [names[index] for index in large]
    claim = f"Tools help with large numbers ({NAMES.get(challenger, challenger)})"
    return _compare(claim, ("CoT greedy", "TIR greedy"), below, above, clusters, seed)


def _scores(outcomes: Outcomes, mode: str, side: tuple[str, Kind]) -> NDArray[np.float64] | None:
    """[problems]; NaN where the model was not asked in this mode, None where nothing was measured."""
    model, metric = side
    if (model, mode) not in outcomes.entries:
        return None
    scores = outcomes.scores(model, mode, max(outcomes.drawn, 1)).get(metric)
    asked = outcomes.measured(model, mode, greedy=metric == "greedy")
    return None if scores is None else np.where(asked, scores, np.nan)


def _compare(
    claim: str,
    labels: tuple[str, str],
    below: list[NDArray[np.float64]],
    above: list[NDArray[np.float64]],
    clusters: list[str],
    seed: int,
    stage: str = "",
) -> Ordering | None:
    if not below:
        return None
    found = paired_difference(np.concatenate(above), np.concatenate(below), seed=seed, clusters=clusters)
    # Means of rounds, which all weigh the same.
    low, high = (float(np.mean([one.mean() for one in side])) for side in (below, above))
    return Ordering(claim, labels[0], low, labels[1], high, found, stage)
