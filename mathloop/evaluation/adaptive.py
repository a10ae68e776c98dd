"""What adaptive sampling (`mathloop.voting.adaptive`) saves and costs, on saved responses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mathloop.evaluation.differences import Difference, paired_difference
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.sample_scores import Outcome
from mathloop.voting import Group, choose, group_answers
from mathloop.voting.adaptive import THRESHOLD, leader_stays, next_count

ORDERS = 32
"""Random orders of a problem's samples: which of them come first is chance."""


@dataclass(frozen=True)
class Saving:
    """Adaptive sampling beside the vote of all samples, on the same orders of the same samples."""

    drawn: float
    """Share of the samples that are drawn, 0 to 1."""
    full: float
    """Accuracy of the vote of all samples, 0 to 1."""
    difference: Difference
    """Accuracy of adaptive sampling less that of all samples, per problem."""


def measure_saving(
    outcomes: Outcomes,
    model: str,
    mode: str,
    strategy: str,
    *,
    threshold: float = THRESHOLD,
    seed: int = 0,
) -> Saving:
    """Votes on each problem's samples in `ORDERS` random orders, with and without stopping early.

    Raises ValueError if the model has no samples in this mode.
    """
    drawn, total = 0, 0
    scores: list[tuple[float, float]] = []
    places = []
    for place, samples in outcomes.samples(model, mode):
        groups = group_answers(samples)
        label = {id(one): number for number, group in enumerate(groups) for one in group.responses}
        random = np.random.default_rng([seed, place])
        hits = [0, 0]
        for _ in range(ORDERS):
            order = [samples[int(index)] for index in random.permutation(len(samples))]
            count = _stop(strategy, order, groups, label, threshold)
            drawn, total = drawn + count, total + len(order)
            for side, members in enumerate((order[:count], order)):
                hits[side] += choose(strategy, _regroup(members, groups, label)).responses[0].correct
        scores.append((hits[0] / ORDERS, hits[1] / ORDERS))
        places.append(place)
    if not scores:
        raise ValueError(f"{model} has no samples in {mode}")
    adaptive, full = np.array(scores).T
    names = outcomes.clusters
    clusters = [names[place] for place in places]
    difference = paired_difference(adaptive, full, seed=seed, clusters=clusters)
    return Saving(drawn / total, float(full.mean()), difference)


def _stop(
    strategy: str,
    order: Sequence[Outcome],
    groups: Sequence[Group[Outcome]],
    label: dict[int, int],
    threshold: float,
) -> int:
    """How many of the samples are drawn."""
    count, stays = 0, 0.0
    while count < len(order) and stays < threshold:
        count += next_count(count, len(order))
        stays = leader_stays(strategy, _regroup(order[:count], groups, label), len(order) - count)
    return count


def _regroup(
    members: Sequence[Outcome], groups: Sequence[Group[Outcome]], label: dict[int, int]
) -> list[Group[Outcome]]:
    """The groups of some of the samples, by the labels of all: no answer is compared again."""
    found: dict[int, list[Outcome]] = {}
    for one in members:
        found.setdefault(label[id(one)], []).append(one)
    return [
        Group(None if groups[number].answer is None else together[0].answer, tuple(together))
        for number, together in found.items()
    ]
