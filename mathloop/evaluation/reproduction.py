"""What a reproduction measures: scores of its models per problem, and the paper's claims over seeds.

A seed's scores are one JSON object, `SeedScores`; the claims are a literal table.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from mathloop.errors import BadData
from mathloop.evaluation.config import KINDS
from mathloop.evaluation.differences import Difference, crossed_difference
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.orderings import LARGE_NUMBERS
from mathloop.evaluation.table import metric_name

MODES = ("cot", "tir")
Scores = dict[str, dict[str, list[float]]]
"""Mode → metric → score per problem, 0 to 1."""


class Asked(BaseModel):
    """A problem of the benchmarks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    benchmark: str
    cluster: str = Field(description="What it is a variation of")
    large: bool = Field(description="Whether its numbers are too large to calculate without a tool")


class SeedScores(BaseModel):
    """The scores of one seed, as its folder keeps them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = Field(ge=0, description="Seed of the reproduction")
    profile: str = Field(description="Name of the profile")
    samples: int = Field(ge=0, description="The k of maj@k, rm@k and weighted@k")
    problems: tuple[Asked, ...] = Field(min_length=1, description="Problems, in the order of all scores")
    models: dict[str, Scores] = Field(description="Name of the model → its scores")
    tokens: dict[str, int] = Field({}, description="Pretraining → tokens it trained on")
    seconds: dict[str, float] = Field({}, description="Part → seconds that its stages took")
    notes: tuple[str, ...] = Field((), description="What the reader must know")


def scores_of(outcomes: Outcomes, label: str) -> Scores:
    """The scores per problem of one model of an evaluation; metrics that were not measured are left out."""
    k = max(outcomes.drawn, 1)
    return {
        mode: {
            metric_name(kind, k): [float(value) for value in scores]
            for kind, scores in outcomes.scores(label, mode, k).items()
            if kind in KINDS
        }
        for model, mode in outcomes.entries
        if model == label
    }


def asked_of(outcomes: Outcomes) -> tuple[Asked, ...]:
    """The problems of an evaluation, in the order of `scores_of`."""
    columns = zip(outcomes.problems, outcomes.benchmarks, outcomes.clusters, outcomes.groups, strict=True)
    return tuple(
        Asked(id=one, benchmark=benchmark, cluster=cluster, large=LARGE_NUMBERS in groups)
        for one, benchmark, cluster, groups in columns
    )


class Side(NamedTuple):
    """One side of a claim: a model's metric, as the mean over both modes or in one."""

    model: str
    metric: str = "greedy"
    """`maj`, `rm` and `weighted` are those of the samples that were drawn."""
    mode: str = ""


class Claim(NamedTuple):
    """`greater` is above `lesser`."""

    text: str
    lesser: Side
    greater: Side
    large: bool = False
    """Measured on large numbers alone."""


CLAIMS = (
    Claim("SFT improves on the base model", Side("base v1"), Side("SFT")),
    Claim("GRPO improves on SFT", Side("SFT"), Side("GRPO")),
    Claim("champion 2 is above champion 1", Side("champion 1"), Side("champion 2")),
    Claim("Pretraining on the written corpus improves the base model", Side("base v1"), Side("base v2")),
    Claim("… more than a second pretraining on v1", Side("base v1 again"), Side("base v2")),
    Claim("… more than the written corpus unfiltered", Side("base v2 unfiltered"), Side("base v2")),
    Claim("champion 3 is above champion 2", Side("champion 2"), Side("champion 3")),
    Claim(
        "TIR beats CoT on large numbers",
        Side("champion 3", mode="cot"),
        Side("champion 3", mode="tir"),
        large=True,
    ),
    Claim("Majority vote beats greedy decoding", Side("champion 3"), Side("champion 3", "maj")),
    Claim("rm beats majority vote", Side("champion 3", "maj"), Side("champion 3", "rm")),
    Claim("weighted beats majority vote", Side("champion 3", "maj"), Side("champion 3", "weighted")),
)
"""The table of claims. Scores are greedy, unless a metric is named."""


class Finding(NamedTuple):
    """A claim as it was measured on one benchmark."""

    claim: str
    benchmark: str
    lesser: str
    lesser_value: float
    greater: str
    greater_value: float
    difference: Difference
    seeds: int
    """Seeds that measured both sides."""


def check_claims(seeds: Sequence[SeedScores], *, seed: int = 0, resamples: int = 2_000) -> list[Finding]:
    """Each claim on each benchmark, over all seeds that measured it; one that none measured is left out.

    Raises:
        BadData: the seeds were asked different problems, or a different number of samples.
    """
    first = seeds[0]
    for other in seeds[1:]:
        if other.problems != first.problems or other.samples != first.samples:
            raise BadData(
                f"seed {other.seed} was measured on other problems than seed {first.seed}, or with another "
                "number of samples: report seeds of one profile"
            )
    found = []
    for benchmark in dict.fromkeys(one.benchmark for one in first.problems):
        for claim in CLAIMS:
            finding = _finding(claim, benchmark, seeds, seed, resamples)
            found += [finding] if finding is not None else []
    return found


def mean_scores(seeds: Sequence[SeedScores]) -> dict[tuple[str, str], dict[str, float]]:
    """(benchmark, model) → metric → mean over seeds and modes, 0 to 1, in the order of the first seed."""
    means: dict[tuple[str, str], dict[str, float]] = {}
    for benchmark in dict.fromkeys(one.benchmark for one in seeds[0].problems):
        chosen = [number for number, one in enumerate(seeds[0].problems) if one.benchmark == benchmark]
        for model, scores in seeds[0].models.items():
            metrics = dict.fromkeys(name for of_mode in scores.values() for name in of_mode)
            for metric in metrics:
                sides = [_scores(one, Side(model, metric)) for one in seeds]
                values = [side[chosen].mean() for side in sides if side is not None]
                means.setdefault((benchmark, model), {})[metric] = float(np.mean(values))
    return means


def _finding(
    claim: Claim, benchmark: str, seeds: Sequence[SeedScores], seed: int, resamples: int
) -> Finding | None:
    problems = seeds[0].problems
    chosen = [
        number
        for number, one in enumerate(problems)
        if one.benchmark == benchmark and (one.large or not claim.large)
    ]
    sides = [
        (lesser[chosen], greater[chosen])
        for one in seeds
        if (lesser := _scores(one, claim.lesser)) is not None
        and (greater := _scores(one, claim.greater)) is not None
    ]
    if not chosen or not sides:
        return None
    below, above = (np.stack(side) for side in zip(*sides, strict=True))
    clusters = [problems[number].cluster for number in chosen]
    difference = crossed_difference(above, below, seed=seed, clusters=clusters, resamples=resamples)
    names = [_shown(side, claim, seeds[0].samples) for side in (claim.lesser, claim.greater)]
    values = [float(side.mean()) for side in (below, above)]
    return Finding(claim.text, benchmark, names[0], values[0], names[1], values[1], difference, len(sides))


def _scores(seed: SeedScores, side: Side) -> NDArray[np.float64] | None:
    """[problems]: the mean over the side's modes; None where one was not measured."""
    of_model: Mapping[str, Mapping[str, Sequence[float]]] = seed.models.get(side.model, {})
    metric = metric_name(side.metric, seed.samples) if side.metric in KINDS else side.metric
    columns = [of_model.get(mode, {}).get(metric) for mode in ((side.mode,) if side.mode else MODES)]
    measured = [np.array(column) for column in columns if column is not None]
    return np.mean(measured, axis=0) if len(measured) == len(columns) else None


def _shown(side: Side, claim: Claim, samples: int) -> str:
    metric = metric_name(side.metric, samples)
    mode = {"cot": " CoT", "tir": " TIR"}.get(side.mode, "")
    return f"{side.model}{mode}" if claim.lesser.metric == claim.greater.metric else f"{side.model} {metric}"
