"""The scores of one problem's samples: mean@k, maj@k, rm@k, weighted@k and pass@k from n samples.

With the samples y_0 … y_{n-1} of a problem, of which c are right (a missing one is wrong):

    mean@k   c / n
    pass@k   1 − C(n−c, k) / C(n, k): the chance that k of the n samples hold a right one, without bias
             (Chen et al. 2021, arXiv 2107.03374, equation 1)
    maj@k    1 if the answer that the voting strategy chooses among k samples is right; likewise for every
             strategy of `mathloop.voting` that samples: rm@k, weighted@k. A group of equal answers is right
             if its first sample is

For k = n there is one choice of samples. For k < n the votes are means over `DRAWS` draws of k of the n
samples, or over all of them where there are no more; the draws depend on n and k alone, so that models are
compared on the same ones. Fewer samples than k are taken as k, of which the others are missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np

from mathloop.evaluation.config import Kind
from mathloop.voting import STRATEGIES, Group, choose, group_answers

DRAWS = 128
"""Draws of k of n samples that maj@k, rm@k and weighted@k are averaged over."""


class Outcome(NamedTuple):
    """What of a response decides scores."""

    answer: str | None
    correct: bool
    reward: float | None


def score_samples(
    samples: Sequence[Outcome | None], k: int, kinds: Sequence[Kind] | None = None
) -> Mapping[Kind, float]:
    """The scores of one problem's samples, as the module defines them: all kinds but greedy, or `kinds`.

    `samples` are y_0 … y_{n-1}, None where one is missing; n is at least k.
    """
    return score_counts(samples, (k,), kinds)[k]


def score_counts(
    samples: Sequence[Outcome | None], ks: Sequence[int], kinds: Sequence[Kind] | None = None
) -> dict[int, dict[Kind, float]]:
    """`score_samples` for several k, with one grouping of the answers."""
    present = [sample for sample in samples if sample is not None]
    right = sum(sample.correct for sample in present)
    names = [
        name
        for name, strategy in STRATEGIES.items()
        if strategy.needs != "greedy" and (kinds is None or name in kinds)
    ]
    groups = group_answers(present) if names else []
    scores: dict[int, dict[Kind, float]] = {}
    for k in ks:
        n = max(len(samples), k)
        scores[k] = {"mean": right / n, "pass": pass_at(n, right, k)}
        if n == k:
            for name in names:
                scores[k][name] = float(bool(groups) and choose(name, groups).responses[0].correct)
        elif k == 1 or right in (0, n):  # a vote over one sample is that sample
            scores[k] |= dict.fromkeys(names, right / n)
        else:
            scores[k] |= _over_draws(samples, groups, k, names)
    return scores


def pass_at(n: int, right: int, k: int) -> float:
    """The unbiased estimate of pass@k from n samples of which `right` are right, 1 ≤ k ≤ n."""
    return 1.0 - math.comb(n - right, k) / math.comb(n, k)


@lru_cache(maxsize=64)
def draws_of(n: int, k: int) -> tuple[tuple[int, ...], ...]:
    """Draws of k of n samples, each in the order of sampling: all there are, or `DRAWS` random ones."""
    if math.comb(n, k) <= DRAWS:
        return tuple(combinations(range(n), k))
    random = np.random.default_rng([n, k])
    return tuple(tuple(sorted(map(int, random.choice(n, size=k, replace=False)))) for _ in range(DRAWS))


def _over_draws(
    samples: Sequence[Outcome | None], groups: Sequence[Group[Outcome]], k: int, names: Sequence[str]
) -> dict[Kind, float]:
    # By identity, which costs nothing; an object that occurs twice is in one group anyhow.
    group_of = {id(one): number for number, group in enumerate(groups) for one in group.responses}
    labels = [-1 if one is None else group_of[id(one)] for one in samples]
    draws = draws_of(len(samples), k)
    won = dict.fromkeys(names, 0)
    for draw in draws:
        members: dict[int, list[Outcome]] = {}
        for index in draw:
            if (one := samples[index]) is not None:
                members.setdefault(labels[index], []).append(one)
        drawn = [
            Group(None if groups[label].answer is None else together[0].answer, tuple(together))
            for label, together in members.items()
        ]
        if drawn:
            for name in names:
                won[name] += choose(name, drawn).responses[0].correct
    return {name: count / len(draws) for name, count in won.items()}
