"""Outcomes of all models, and their scores per problem (Paper §5).

Every score is over the same problems: those with a gold answer that any model answered. A response that is
missing counts as wrong, so that a model never gains by failing to answer; `Outcomes.measured` tells this from
a benchmark that the model was never asked. A problem scores 1 in
`greedy` if the greedy response (`Response.sample` -1) is right; `sample_scores` defines the scores of the
samples from 0 up. Scores that need rewards are absent where a model has no finite one.
"""

from __future__ import annotations

import math
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mathloop.errors import BadData
from mathloop.evaluation.columns import Columns
from mathloop.evaluation.config import KINDS, Kind
from mathloop.evaluation.sample_scores import Outcome, score_counts, score_samples
from mathloop.records import Problem, Response, benchmark_of
from mathloop.voting import STRATEGIES

MOST_SAMPLES = 65_536
"""Samples of one problem in one mode."""

__all__ = ["Outcome", "Outcomes", "score_samples"]


class Outcomes:
    """Every model's outcomes, folded from a stream of responses; holds no response text.

    A response takes 21 bytes here, and each distinct answer is held once. Responses to problems without a
    gold answer are passed over: nobody can say whether they are right.
    """

    def __init__(self, problems: Iterable[Problem] = (), responses: Iterable[Response] = ()) -> None:
        self.not_finite: dict[str, int] = defaultdict(int)
        """Model → responses whose reward is NaN or infinite."""
        self.responses = 0
        self.partial: set[str] = set()
        """Models whose evaluation is not complete: each pass is scored over the problems that it drew."""
        self.own_counts = False
        """Each problem is scored over the samples that it has, rather than the largest number of any."""
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

    def add_unanswered(self, problem_id: str, model: str, mode: str) -> None:
        """Notes that a model was asked a problem, which was added, and gave no response: it is wrong."""
        number = self._numbers[problem_id]
        if self._gradable[number]:
            self._scores.clear()
            self._answered[number] = True
            self._columns[model, mode].unanswered.append(number)

    def rename(self, names: Mapping[str, str]) -> None:
        """Gives each model its new name; the new names are distinct."""
        self._scores.clear()
        self._columns = defaultdict(Columns, {(names[a], b): one for (a, b), one in self._columns.items()})
        self.not_finite = defaultdict(int, {names[a]: count for a, count in self.not_finite.items()})
        self.partial = {names[model] for model in self.partial}

    def check_numbers(self) -> None:
        """Raises BadData if two responses of one model and mode have the same problem and number."""
        for (model, mode), columns in self._columns.items():
            if (twice := columns.twice()) is not None:
                name, sample = self._ids[twice[0]], twice[1]
                raise BadData(
                    f"two responses of {model} in {mode} to the problem {name!r} have the number {sample}; "
                    "leave out the copies, or number the samples of a problem from 0",
                    field="sample",
                )

    def measured(self, model: str, mode: str, *, greedy: bool) -> NDArray[np.bool_]:
        """[problems]: whether the model was asked it in this mode, greedily or with samples.

        It was asked all problems of a benchmark from which it has any such response. Of a `partial` model,
        each problem counts by itself.
        """
        columns = self._columns.get((model, mode), Columns())
        asked = np.zeros(len(self._ids), dtype=bool)
        asked[columns.asked(greedy=greedy)] = True
        if model not in self.partial:
            names = {self._benchmarks[number] for number in np.flatnonzero(asked)}
            asked = np.array([name in names for name in self._benchmarks], dtype=bool)
        return asked[np.frombuffer(self._answered, np.bool_)] if len(asked) else asked

    def samples_of(self, model: str, mode: str) -> Counter[int]:
        """Number of samples → problems that have as many, of those the model was asked."""
        return Counter(self._columns.get((model, mode), Columns()).counts().values())

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
        return sorted(key for key, columns in self._columns.items() if columns.problem)

    @property
    def models(self) -> list[str]:
        """All models, sorted, those without any response too."""
        return sorted({model for model, _ in self._columns})

    @property
    def drawn(self) -> int:
        """The largest number of samples drawn for one problem; with `own_counts`, the smallest above 0."""
        if self.own_counts:
            counts = (count for columns in self._columns.values() for count in columns.counts().values())
            return min(filter(None, counts), default=0)
        return max((columns.drawn for columns in self._columns.values()), default=0)

    def missing(self, model: str, mode: str) -> int:
        """Problems that another model answered and this one did not."""
        columns = self._columns.get((model, mode))
        return self._answered.count(True) - (len(set(columns.problem)) if columns else 0)

    def samples(self, model: str, mode: str) -> Iterator[tuple[int, list[Outcome]]]:
        """Yields an answered problem's place in `problems` and its samples in order, without greedy ones."""
        columns = self._columns.get((model, mode), Columns())
        answered = (number for number, one in enumerate(self._answered) if one)
        places = {number: place for place, number in enumerate(answered)}
        for number, found in columns.by_problem(self._texts):
            if samples := [found[index] for index in sorted(found) if index >= 0]:
                yield places[number], samples

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
                numbers = sorted(found) if self.own_counts else range(n)
                samples = [found.get(index) for index in numbers]
                for k, row in score_counts(samples, ks, kinds).items():
                    for kind in kinds:
                        scores[k][kind][place] = row[kind]
        return scores


def _needs_rewards(kind: Kind) -> bool:
    return kind in STRATEGIES and STRATEGIES[kind].needs == "rewards"
