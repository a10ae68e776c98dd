"""Outcomes of all models, and their table of scores with bootstrap intervals over problems (Paper §5).

Every score is a mean over the same problems: those with a gold answer that any model answered. A response
that is missing counts as wrong, so that a model never gains by failing to answer. A problem scores 1 in
`greedy` if the greedy response (`Response.sample` -1) is right; `sample_scores` defines the scores of the
samples from 0 up. Scores that need rewards are absent where a model has no finite one.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mathloop.errors import BadData
from mathloop.evaluation.bootstrap import bootstrap_interval, percentile_interval, resampled_means
from mathloop.evaluation.columns import Columns
from mathloop.evaluation.config import KINDS, Kind
from mathloop.evaluation.sample_scores import Outcome, score_counts, score_samples
from mathloop.evaluation.table import Score, Table, metric_name
from mathloop.records import Problem, Response, benchmark_of
from mathloop.voting import STRATEGIES

MOST_SAMPLES = 65_536
"""Samples of one problem in one mode."""

__all__ = ["Outcome", "Outcomes", "score_samples", "score_table", "tabulate"]


class Outcomes:
    """Every model's outcomes, folded from a stream of responses; holds no response text.

    A response takes 21 bytes here, and each distinct answer is held once. Responses to problems without a
    gold answer are passed over: nobody can say whether they are right.
    """

    def __init__(self, problems: Iterable[Problem] = (), responses: Iterable[Response] = ()) -> None:
        self.not_finite: dict[str, int] = defaultdict(int)
        """Model → responses whose reward is NaN or infinite."""
        self.responses = 0
        self._numbers: dict[str, int] = {}
        """A problem's id → its place in the six below."""
        self._ids: list[str] = []
        self._groups: list[tuple[str, ...]] = []
        self._clusters: list[str] = []
        self._benchmarks: list[str] = []
        self._gradable = bytearray()
        self._answered = bytearray()
        self._shared: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._answers: dict[str, int] = {}
        self._texts: list[str] = []
        self._columns: dict[tuple[str, str], Columns] = defaultdict(Columns)
        self._scores: dict[tuple[str, str, int], dict[Kind, NDArray[np.float64]]] = {}
        for problem in problems:
            self.add_problem(problem)
        for response in responses:
            self.add(response)

    def add_problem(self, problem: Problem) -> None:
        """Adds a problem of the benchmark; one that is known already is ignored."""
        if problem.id in self._numbers:
            return
        names = ["all", f"language:{problem.language}"]
        names += [f"family:{problem.family}"] if problem.family else []
        names += [f"benchmark:{problem.source}"] if problem.source else []
        names += [f"level:{problem.difficulty}"] if problem.difficulty else []
        groups = tuple(names)
        self._numbers[problem.id] = len(self._ids)
        self._ids.append(problem.id)
        self._groups.append(self._shared.setdefault(groups, groups))
        self._clusters.append(problem.parent or problem.id)
        self._benchmarks.append(sys.intern(benchmark_of(problem)))
        self._gradable.append(problem.answer is not None)
        self._answered.append(False)

    def add(self, response: Response) -> None:
        """Adds a response, whose verdict is known; raises BadData if its problem was not added."""
        self.responses += 1
        number = self._numbers.get(response.problem_id)
        if number is None:
            name = response.problem_id
            raise BadData(f"no problem of the benchmark has the id {name!r}", field="problem_id")
        if response.reward is not None and not math.isfinite(response.reward):
            self.not_finite[response.model] += 1
        if not self._gradable[number]:
            return
        self._scores.clear()
        self._answered[number] = True
        answer = -1
        if response.answer is not None:
            answer = self._answers.setdefault(response.answer, len(self._texts))
            if answer == len(self._texts):
                self._texts.append(response.answer)
        columns = self._columns[response.model, response.mode]
        if not -1 <= response.sample < MOST_SAMPLES:
            message = f"expected -1 (greedy) to {MOST_SAMPLES - 1:,}, found {response.sample}; number from 0"
            raise BadData(message, field="sample")
        columns.problem.append(number)
        columns.sample.append(response.sample)
        columns.answer.append(answer)
        columns.correct.append(response.correct is True)
        columns.reward.append(math.nan if response.reward is None else response.reward)

    @property
    def problems(self) -> list[str]:
        """Ids of the problems that scores run over, in the benchmark's order."""
        return [name for name, answered in zip(self._ids, self._answered, strict=True) if answered]

    @property
    def groups(self) -> list[tuple[str, ...]]:
        """Groups of each problem; that of its benchmark only where there are several."""
        found = [one for one, answered in zip(self._groups, self._answered, strict=True) if answered]
        if len({name for one in set(found) for name in one if name.startswith("benchmark:")}) > 1:
            return found
        bare = {one: tuple(n for n in one if not n.startswith("benchmark:")) for one in set(found)}
        return [bare[one] for one in found]

    @property
    def clusters(self) -> list[str]:
        """What each problem is a variation of; the problem itself where it stands alone."""
        return [name for name, answered in zip(self._clusters, self._answered, strict=True) if answered]

    @property
    def benchmarks(self) -> list[str]:
        """The named benchmark that each problem is from, or held-out (see `benchmark_of`)."""
        return [name for name, answered in zip(self._benchmarks, self._answered, strict=True) if answered]

    @property
    def entries(self) -> list[tuple[str, str]]:
        """(model, mode) pairs with any response, sorted."""
        return sorted(self._columns)

    @property
    def drawn(self) -> int:
        """The largest number of samples drawn for one problem."""
        return max((columns.drawn for columns in self._columns.values()), default=0)

    def missing(self, model: str, mode: str) -> int:
        """Problems that another model answered and this one did not."""
        columns = self._columns.get((model, mode))
        return self._answered.count(True) - (len(set(columns.problem)) if columns else 0)

    def scores(self, model: str, mode: str, k: int) -> dict[Kind, NDArray[np.float64]]:
        """A score per problem, each [problems] in the order of `problems`; a kind not measured is absent."""
        return self.scores_at(model, mode, (k,))[k]

    def scores_at(
        self, model: str, mode: str, ks: Sequence[int]
    ) -> dict[int, dict[Kind, NDArray[np.float64]]]:
        """`scores` for several k. Computed once per argument: the votes behind it may need proofs."""
        new = [k for k in ks if (model, mode, k) not in self._scores]
        if new:
            for k, scores in self._computed(model, mode, new).items():
                self._scores[model, mode, k] = scores
        return {k: dict(self._scores[model, mode, k]) for k in ks}

    def _computed(
        self, model: str, mode: str, ks: Sequence[int]
    ) -> dict[int, dict[Kind, NDArray[np.float64]]]:
        columns = self._columns.get((model, mode), Columns())
        places = np.cumsum(np.frombuffer(self._answered, np.uint8)) - 1  # among the answered problems
        count = int(places[-1]) + 1 if len(places) else 0
        shared: dict[Kind, NDArray[np.float64]] = {}
        if columns.greedy:
            shared["greedy"] = np.zeros(count)
        n = columns.drawn
        rewarded = any(map(math.isfinite, columns.sample_rewards()))
        kinds = [kind for kind in KINDS if kind != "greedy" and (rewarded or not _needs_rewards(kind))]
        scores = {k: {**shared, **({kind: np.zeros(count) for kind in kinds} if n else {})} for k in ks}
        for number, found in columns.by_problem(self._texts):
            place = places[number]
            if -1 in found:
                shared["greedy"][place] = found.pop(-1).correct
            if found:
                samples = [found.get(index) for index in range(n)]
                for k, row in score_counts(samples, ks, kinds).items():
                    for kind in kinds:
                        scores[k][kind][place] = row[kind]
        return scores


def score_table(
    problems: Iterable[Problem],
    responses: Iterable[Response],
    k: int | Sequence[int] | None = 8,
    seed: int = 0,
) -> Table:
    """`tabulate` of the outcomes; both iterables are read once."""
    return tabulate(Outcomes(problems, responses), k, seed)


def tabulate(outcomes: Outcomes, k: int | Sequence[int] | None = None, seed: int = 0) -> Table:
    """Scores by model, mode and group, each with a 95 % bootstrap interval over the group's problems.

    Scores are over k of the samples of each problem, as `sample_scores` defines them, for each of several k.
    None means as many as were drawn, and a k above that is taken as that number. Several benchmarks have a
    group `average` too: the mean of their scores, all weighing the same (as in the paper's tables 3 to 5),
    with an interval for which each is resampled by itself. In several languages there is one average for each
    of these, as there: `average:en`, `average:zh`.
    """
    counts = [k] if isinstance(k, int) else list(k or [outcomes.drawn])
    ks = sorted({min(count, outcomes.drawn) for count in counts})
    columns: list[tuple[str, str, str]] = []
    arrays: list[NDArray[np.float64]] = []
    for model, mode in outcomes.entries:
        for count, scores in outcomes.scores_at(model, mode, ks).items():
            for kind, values in scores.items():
                name = model, mode, metric_name(kind, count)
                if name not in columns:  # greedy is the same for every k
                    columns.append(name)
                    arrays.append(values)
    members: dict[str, list[int]] = defaultdict(list)
    groups_of, clusters = outcomes.groups, outcomes.clusters
    for index, groups in enumerate(groups_of):
        for group in groups:
            members[group].append(index)
    cells: list[Score] = []

    def add(group: str, n: int, *rows: NDArray[np.float64]) -> None:
        for (model, mode, metric), value, low, high in zip(columns, *rows, strict=True):
            cells.append(Score(model, mode, group, metric, float(value), float(low), float(high), n))

    whole: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
    averages: dict[str, list[tuple[int, NDArray[np.float64], NDArray[np.float64]]]] = defaultdict(list)
    several = len({group for group in members if group.startswith("language:")}) > 1
    for number, group in enumerate(sorted(members, key=lambda name: (name != "all", name))):
        chosen = members[group]
        values = np.stack([one[chosen] for one in arrays], axis=1)
        drawn = [clusters[index] for index in chosen]
        center = np.array([column.mean() for column in values.T])
        if group.startswith("benchmark:"):
            # A stream of its own: benchmarks are independent of each other in the average.
            means = resampled_means(values, seed=[seed, number], clusters=drawn)
            low, high = percentile_interval(means, center)
            language = _language([groups_of[index] for index in chosen])
            averages[f"average:{language}" if several else "average"].append((len(chosen), center, means))
        elif whole is not None and len(chosen) == len(members["all"]):
            low, high = whole  # the same problems, as where all are in one language
        else:
            low, high = bootstrap_interval(values, seed=seed, clusters=drawn)
            whole = whole or (low, high)
        add(group, len(chosen), center, low, high)
    for group, parts in averages.items():
        center = np.mean([one for _, one, _ in parts], axis=0)
        means = np.mean([one for *_, one in parts], axis=0)
        add(group, sum(n for n, *_ in parts), center, *percentile_interval(means, center))
    return Table(max(ks, default=0), tuple(cells))


def _language(groups: Iterable[Sequence[str]]) -> str:
    """The language of most of a benchmark's problems, of which these are the groups."""
    found = Counter(name.partition(":")[2] for one in groups for name in one if name.startswith("language:"))
    return max(sorted(found), key=found.__getitem__)


def _needs_rewards(kind: Kind) -> bool:
    return kind in STRATEGIES and STRATEGIES[kind].needs == "rewards"
