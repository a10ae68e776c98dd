"""The table of scores: means over problems with bootstrap intervals (Paper §5)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from mathloop.evaluation.bootstrap import bootstrap_interval, percentile_interval, resampled_means
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.table import Score, Table, metric_name
from mathloop.records import Problem, Response


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

    A score is over the problems that the model was asked (`Outcomes.measured`): of a benchmark that it was
    not asked there is no cell, and its averages are over the others.
    """
    counts = [k] if isinstance(k, int) else list(k or [outcomes.drawn])
    ks = sorted({min(count, outcomes.drawn) for count in counts})
    columns: dict[bytes, list[tuple[str, str, str]]] = defaultdict(list)
    arrays: dict[bytes, list[NDArray[np.float64]]] = defaultdict(list)
    for model, mode in outcomes.entries:
        asked = [outcomes.measured(model, mode, greedy=greedy).tobytes() for greedy in (False, True)]
        for count, scores in outcomes.scores_at(model, mode, ks).items():
            for kind, values in scores.items():
                name, mask = (model, mode, metric_name(kind, count)), asked[kind == "greedy"]
                if name not in columns[mask]:  # greedy is the same for every k
                    columns[mask].append(name)
                    arrays[mask].append(values)
    cells: list[Score] = []
    for mask, names in columns.items():
        if names:
            values = np.stack(arrays[mask], axis=1)
            cells += _cells(outcomes, names, values, np.frombuffer(mask, np.bool_), seed)
    return Table(max(ks, default=0), tuple(cells))


def _cells(
    outcomes: Outcomes,
    columns: Sequence[tuple[str, str, str]],
    scores: NDArray[np.float64],
    asked: NDArray[np.bool_],
    seed: int,
) -> list[Score]:
    """The cells of columns (model, mode, metric) that are over the same problems.

    `scores` is [problems, columns], `asked` is [problems].
    """
    groups_of, clusters = outcomes.groups, outcomes.clusters
    members: dict[str, list[int]] = defaultdict(list)
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
        chosen = [index for index in members[group] if asked[index]]
        if not chosen:
            continue
        values = scores[chosen]
        drawn = [clusters[index] for index in chosen]
        center = np.array([column.mean() for column in values.T])
        if group.startswith("benchmark:"):
            # A stream of its own: benchmarks are independent of each other in the average.
            means = resampled_means(values, seed=[seed, number], clusters=drawn)
            low, high = percentile_interval(means, center)
            language = _language([groups_of[index] for index in members[group]])
            averages[f"average:{language}" if several else "average"].append((len(chosen), center, means))
        elif whole is not None and len(chosen) == asked.sum():
            low, high = whole  # the same problems, as where all are in one language
        else:
            low, high = bootstrap_interval(values, seed=seed, clusters=drawn)
            whole = whole or (low, high)
        add(group, len(chosen), center, low, high)
    for group, parts in averages.items():
        center = np.mean([one for _, one, _ in parts], axis=0)
        means = np.mean([one for *_, one in parts], axis=0)
        add(group, sum(n for n, *_ in parts), center, *percentile_interval(means, center))
    return cells


def _language(groups: Iterable[Sequence[str]]) -> str:
    """The language of most of a benchmark's problems, of which these are the groups."""
    found = Counter(name.partition(":")[2] for one in groups for name in one if name.startswith("language:"))
    return max(sorted(found), key=found.__getitem__)
