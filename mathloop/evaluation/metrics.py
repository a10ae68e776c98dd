"""Greedy, mean@k, maj@k, rm@k, weighted@k and pass@k, with bootstrap intervals over problems (Paper §5).

Every score is a mean over the same problems: those with a gold answer that any model answered. A response
that is missing counts as wrong, so that a model never gains by failing to answer. With a problem's samples
y_0 … y_{k-1} (`Response.sample` below k, in that order; `sample` -1 is the greedy response), a problem scores

    greedy   1 if the greedy response is right
    mean@k   right samples / k
    maj@k    1 if the answer that the voting strategy chooses among the samples is right; likewise for every
             strategy of `mathloop.voting` that samples: rm@k, weighted@k. A group of equal answers is right
             if its first sample is. Absent where a strategy needs rewards and a model has no finite one
    pass@k   1 if any sample is right
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathloop.errors import BadData
from mathloop.evaluation.bootstrap import bootstrap_interval
from mathloop.evaluation.config import KINDS, Kind
from mathloop.evaluation.table import Score, Table, metric_name
from mathloop.records import Problem, Response
from mathloop.voting import STRATEGIES, choose, group_answers


class Outcome(NamedTuple):
    """What of a response decides scores."""

    answer: str | None
    correct: bool
    reward: float | None


class Outcomes:
    """Every model's outcomes, folded from a stream of responses; holds no response text.

    Raises BadData for a response whose problem is not in `problems`. Responses to problems without a gold
    answer are passed over: nobody can say whether they are right.
    """

    def __init__(self, problems: Iterable[Problem], responses: Iterable[Response]) -> None:
        groups: dict[str, tuple[str, ...]] = {}
        clusters: dict[str, str] = {}
        gradable: set[str] = set()
        for problem in problems:
            names = ["all", f"language:{problem.language}"]
            names += [f"family:{problem.family}"] if problem.family else []
            groups[problem.id] = tuple(names)
            clusters[problem.id] = problem.parent or problem.id
            if problem.answer is not None:
                gradable.add(problem.id)
        self.not_finite: dict[str, int] = defaultdict(int)
        """Model → responses whose reward is NaN or infinite."""
        self.responses = 0
        self._scores: dict[tuple[str, str, int], dict[Kind, NDArray[np.float64]]] = {}
        self._of: dict[tuple[str, str], dict[str, dict[int, Outcome]]] = defaultdict(
            lambda: defaultdict(dict)
        )
        answered: dict[str, tuple[str, ...]] = {}
        for response in responses:
            self.responses += 1
            name = response.problem_id
            if name not in groups:
                raise BadData(f"no problem of the benchmark has the id {name!r}", field="problem_id")
            if response.reward is not None and not math.isfinite(response.reward):
                self.not_finite[response.model] += 1
            if name in gradable:
                answered[name] = groups[name]
                self._of[response.model, response.mode][name][response.sample] = Outcome(
                    response.answer, response.correct is True, response.reward
                )
        self.problems = [name for name in groups if name in answered]
        """Ids of the problems that scores run over, in the benchmark's order."""
        self.groups = [answered[name] for name in self.problems]
        """Groups of each problem."""
        self.clusters = [clusters[name] for name in self.problems]
        """What each problem is a variation of; the problem itself where it stands alone."""

    @property
    def entries(self) -> list[tuple[str, str]]:
        """(model, mode) pairs with any response, sorted."""
        return sorted(self._of)

    @property
    def drawn(self) -> int:
        """The largest number of samples drawn for one problem."""
        indices = (index for found in self._of.values() for one in found.values() for index in one)
        return max(indices, default=-1) + 1

    def missing(self, model: str, mode: str) -> int:
        """Problems that another model answered and this one did not."""
        return len(self.problems) - len(self._of.get((model, mode), {}))

    def scores(self, model: str, mode: str, k: int) -> dict[Kind, NDArray[np.float64]]:
        """A score per problem, each [problems] in the order of `problems`; a kind not measured is absent.

        Computed once per argument: the votes behind it may need proofs.
        """
        key = model, mode, k
        if key not in self._scores:
            self._scores[key] = self._computed(model, mode, k)
        return dict(self._scores[key])

    def _computed(self, model: str, mode: str, k: int) -> dict[Kind, NDArray[np.float64]]:
        found = self._of.get((model, mode), {})
        by_problem = [found.get(name, {}) for name in self.problems]
        scores: dict[Kind, NDArray[np.float64]] = {}
        if any(-1 in one for one in by_problem):
            scores["greedy"] = np.array([float(-1 in one and one[-1].correct) for one in by_problem])
        samples = [[one[index] for index in range(k) if index in one] for one in by_problem]
        if any(samples):
            rows = [score_samples(one, k) for one in samples]
            rewarded = any(_is_rewarded(outcome) for one in samples for outcome in one)
            for kind in KINDS:
                if kind in rows[0] and (rewarded or not _needs_rewards(kind)):
                    scores[kind] = np.array([row[kind] for row in rows])
        return scores


def score_table(
    problems: Iterable[Problem], responses: Iterable[Response], k: int | None = 8, seed: int = 0
) -> Table:
    """Scores by model, mode and group, each with a 95 % bootstrap interval over the group's problems.

    Uses samples 0 … k-1 of each problem; None means as many as were drawn, and where fewer than k were drawn
    for every problem the table's k is that smaller number. Both iterables are read once.
    """
    outcomes = Outcomes(problems, responses)
    k = outcomes.drawn if k is None else min(k, outcomes.drawn)
    columns = [
        (model, mode, kind, scores)
        for model, mode in outcomes.entries
        for kind, scores in outcomes.scores(model, mode, k).items()
    ]
    members: dict[str, list[int]] = defaultdict(list)
    for index, groups in enumerate(outcomes.groups):
        for group in groups:
            members[group].append(index)
    cells = []
    for group in sorted(members, key=lambda name: (name != "all", name)):
        values = np.stack([scores[members[group]] for *_, scores in columns], axis=1)
        drawn = [outcomes.clusters[index] for index in members[group]]
        low, high = bootstrap_interval(values, seed=seed, clusters=drawn)
        for column, (model, mode, kind, _) in enumerate(columns):
            value = float(values[:, column].mean())
            ends = float(low[column]), float(high[column])
            name = metric_name(kind, k)
            cells.append(Score(model, mode, group, name, value, *ends, len(members[group])))
    return Table(k, tuple(cells))


def score_samples(samples: Sequence[Outcome], k: int) -> Mapping[Kind, float]:
    """The scores of one problem's samples, as the module defines them: all kinds but greedy."""
    right = sum(outcome.correct for outcome in samples)
    scores = {"mean": right / k, "pass": float(right > 0)}
    groups = group_answers(samples)
    for name, strategy in STRATEGIES.items():
        if strategy.needs != "greedy":
            scores[name] = float(bool(groups) and choose(name, groups).responses[0].correct)
    return scores


def _needs_rewards(kind: Kind) -> bool:
    return kind in STRATEGIES and STRATEGIES[kind].needs == "rewards"


def _is_rewarded(outcome: Outcome) -> bool:
    return outcome.reward is not None and math.isfinite(outcome.reward)
