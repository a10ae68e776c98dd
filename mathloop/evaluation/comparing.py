"""Two sets of responses compared on the problems that both answered: differences, fixed and broken ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathloop.errors import BadData
from mathloop.evaluation.config import KINDS, GateConfig, Kind
from mathloop.evaluation.differences import Difference, weighted_difference
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.roles import mean_score
from mathloop.evaluation.table import metric_name
from mathloop.records import Problem, Response

A, B = "A", "B"
BOTH_MODES = "cot+tir"
"""The mean over the modes in which a problem was asked, as the gate's, each benchmark weighing 1."""
AVERAGE = "average"
"""The mean over the benchmarks, each weighing the same."""


@dataclass(frozen=True)
class Side:
    """One of the two: its name, its responses, and what it was made with."""

    name: str
    rows: Callable[[], Iterable[tuple[Problem, Response]]]
    """Responses with their problems, of one model; read twice."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    own_counts: bool = False
    """Each problem is scored over the samples that it has, as an evaluation's are (see `Outcomes`)."""
    complete: bool = True
    """Whether its evaluation has finished."""
    prompts: Callable[[], Iterable[tuple[str, str, str]]] = tuple
    """(problem's id, mode, prompt), where prompts were saved."""


class Row(NamedTuple):
    """One score of both sides, 0 to 1, and its paired difference, B minus A."""

    benchmark: str
    mode: str
    metric: str
    a: float
    b: float
    difference: Difference


@dataclass
class Change:
    """A problem whose greedy answer is right on one side alone."""

    problem: Problem
    mode: str
    fixed: bool
    """Right in B and wrong in A; else broken."""
    before: Response | None = None
    """A's greedy response; None where it gave none."""
    after: Response | None = None


@dataclass(frozen=True)
class Comparison:
    """What B changes, compared with A."""

    a: Side
    b: Side
    k: int
    """Samples behind mean@k, maj@k, …: the smaller number of the two; of several modes, the largest."""
    rows: list[Row]
    changed: list[Change]
    """Fixed problems, then broken ones, in the benchmark's order."""
    only: tuple[int, int]
    """Problems that only A, and only B, was asked: they are left out."""


def compare(a: Side, b: Side, *, seed: int = 0, resamples: int = GateConfig().resamples) -> Comparison:
    """Compares two sides; memory grows with the problems that changed, not with the texts of all responses.

    Raises:
        BadData: they have no problem and mode in common, or one id stands for different problems.
    """
    outcomes = _outcomes(a, b)
    sides = {side: [mode for model, mode in outcomes.entries if model == side] for side in (A, B)}
    modes = [mode for mode in sides[A] if mode in sides[B]]
    asked = {(mode, greedy): _asked(outcomes, mode, greedy) for mode in modes for greedy in (True, False)}
    modes = [mode for mode in modes if asked[mode, True].any() or asked[mode, False].any()]
    if not modes:
        raise BadData(f"{a.name} and {b.name} have no problem in common that both answered in one mode")
    groups = {mode: [mode] for mode in modes}
    if len(modes) > 1:
        groups[BOTH_MODES] = modes
    ks = {mode: min(_drawn(outcomes, side, mode) for side in (A, B)) for mode in modes}
    rows = [
        row
        for mode, own in groups.items()
        for row in _rows(outcomes, mode, own, asked, min(ks[one] for one in own), seed, resamples)
    ]
    changed = _changed(outcomes, a, b, {mode: asked[mode, True] for mode in modes})
    return Comparison(a, b, max(ks.values()), rows, changed, _only(outcomes, sides))


def _outcomes(*sides: Side) -> Outcomes:
    outcomes = Outcomes()
    outcomes.own_counts = any(side.own_counts for side in sides)
    known: dict[str, bytes] = {}
    for label, side in zip((A, B), sides, strict=True):
        for problem, response in side.rows():
            text = f"{problem.problem}\0{problem.answer}".encode(errors="surrogateescape")
            digest = hashlib.blake2b(text, digest_size=8).digest()
            if known.setdefault(problem.id, digest) != digest:
                raise BadData(
                    f"{sides[0].name} and {sides[1].name} do not have the same problem {problem.id!r}: "
                    "compare evaluations of the same benchmark"
                )
            outcomes.add_problem(problem)
            outcomes.add(replace(response, model=label))
    outcomes.partial |= {A, B}  # each problem by itself: sides may have been asked different ones
    return outcomes


def _asked(outcomes: Outcomes, mode: str, greedy: bool) -> NDArray[np.bool_]:
    """[problems]: whether both sides were asked it in this mode, greedily or with samples."""
    return np.logical_and(*(outcomes.measured(side, mode, greedy=greedy) for side in (A, B)))


def _drawn(outcomes: Outcomes, side: str, mode: str) -> int:
    """Samples of a problem: the smallest number above 0 where each counts its own, else the largest."""
    counts = [count for count in outcomes.samples_of(side, mode) if count]
    return (min if outcomes.own_counts else max)(counts, default=0)


def _rows(
    outcomes: Outcomes,
    name: str,
    modes: list[str],
    asked: Mapping[tuple[str, bool], NDArray[np.bool_]],
    k: int,
    seed: int,
    resamples: int,
) -> Iterator[Row]:
    """The rows of one mode, or of the mean over several."""
    for kind in KINDS:
        counted = np.stack([asked[mode, kind == "greedy"] for mode in modes], axis=1)
        scores = [_scores(outcomes, side, modes, kind, k) for side in (A, B)]
        if scores[0] is None or scores[1] is None or not counted.any(axis=0).all():
            continue
        both: NDArray[np.bool_] = np.logical_or.reduce(counted, axis=1)
        before, after = (np.where(counted, one, np.nan)[both] for one in scores if one is not None)
        benchmarks, clusters = (
            [one for one, chosen in zip(names, both, strict=True) if chosen]
            for names in (outcomes.benchmarks, outcomes.clusters)
        )
        whole, own = weighted_difference(
            after, before, benchmarks, {}, seed=seed, clusters=clusters, resamples=resamples
        )
        means = {}
        for benchmark, difference in own.items():
            chosen = np.array([one == benchmark for one in benchmarks])
            means[benchmark] = mean_score(before[chosen]), mean_score(after[chosen])
            yield Row(benchmark, name, metric_name(kind, k), *means[benchmark], difference)
        if len(own) > 1:
            one, other = (float(np.mean([mean[side] for mean in means.values()])) for side in (0, 1))
            yield Row(AVERAGE, name, metric_name(kind, k), one, other, whole)


def _scores(
    outcomes: Outcomes, side: str, modes: list[str], kind: Kind, k: int
) -> NDArray[np.float64] | None:
    """[problems, modes]; None if the side has no such score in one of the modes."""
    columns = [outcomes.scores(side, mode, max(k, 1)).get(kind) for mode in modes]
    if (not k and kind != "greedy") or any(column is None for column in columns):
        return None
    return np.stack([column for column in columns if column is not None], axis=1)


def _changed(outcomes: Outcomes, a: Side, b: Side, asked: Mapping[str, NDArray[np.bool_]]) -> list[Change]:
    """Changed greedy answers, with both responses, which a second pass finds."""
    ids = outcomes.problems
    wanted: dict[tuple[str, str], bool] = {}
    for mode, both in asked.items():
        before, after = (_scores(outcomes, side, [mode], "greedy", 1) for side in (A, B))
        if before is not None and after is not None:
            for index in np.flatnonzero(both & (before != after)[:, 0]):
                wanted[ids[index], mode] = bool(after[index, 0] > before[index, 0])
    found: dict[tuple[str, str], Change] = {}
    for side in (a, b):
        for problem, response in side.rows():
            key = problem.id, response.mode
            if response.sample >= 0 or key not in wanted:
                continue
            change = found.setdefault(key, Change(problem, response.mode, wanted[key]))
            if side is a:
                change.before = response
            else:
                change.after = response
    order = {name: index for index, name in enumerate(ids)}
    return sorted(found.values(), key=lambda one: (not one.fixed, one.mode, order[one.problem.id]))


def _only(outcomes: Outcomes, sides: Mapping[str, list[str]]) -> tuple[int, int]:
    asked = {}
    for side, modes in sides.items():
        masks = [outcomes.measured(side, mode, greedy=greedy) for mode in modes for greedy in (True, False)]
        asked[side] = np.logical_or.reduce(masks) if masks else np.zeros(len(outcomes.problems), bool)
    return int((asked[A] & ~asked[B]).sum()), int((asked[B] & ~asked[A]).sum())
