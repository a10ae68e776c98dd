"""The promotion gate: a challenger replaces the champion only if it is significantly better.

Each problem contributes the challenger's score minus the champion's, averaged over CoT and TIR (of a
benchmark that the champion was asked without tools, CoT alone). A paired
bootstrap over problems, in which variants of one problem are resampled together, gives the 95 % interval of
the mean difference; of several benchmarks, that of the weighted mean of theirs, each resampled by itself. The
challenger is promoted if the interval's lower end exceeds the margin, all rewards are finite, and it answered
every problem that the champion answered.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathloop.errors import BadConfig, BadData
from mathloop.evaluation.config import GateConfig
from mathloop.evaluation.differences import Difference, weighted_difference
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.roles import (
    CHALLENGER,
    champion_of,
    compared_scores,
    mean_score,
    role_scores,
    weighted_score,
)
from mathloop.evaluation.serving import choose_serving
from mathloop.files import write_file
from mathloop.records import Response, read_problems, read_responses
from mathloop.stages import StageReport, timed


@timed
def run(*, benchmark: Path, results: Path, out: Path, config: GateConfig, seed: int) -> StageReport:
    """Compares challenger and champion in `results` (Responses) and writes the decision to `out` as JSON.

    Keys: promote, mark (of the claim "better by more than the margin", see `differences`), difference, low,
    high (fractions of problems, -1 to 1), n (problems), reason, metric, margin, challenger and champion (each
    with model, score and scores per mode: means of the benchmarks by their weights, as the difference). With
    several benchmarks `benchmarks` has the weight, difference and scores of each. `serving` is how to serve
    the challenger, by this evaluation (`choose_serving`), or null. Raises BadData if `results` lack the
    challenger, both champion and base, or the champion's metric, and BadConfig if no benchmark has a weight.
    """
    temperatures: set[float] = set()
    outcomes = Outcomes(read_problems(benchmark), _noting(read_responses(results), temperatures))
    decision = decide(outcomes, config, seed)
    # Samples of several temperatures are of several evaluations.
    found = [choose_serving(outcomes, CHALLENGER, one, config.weights) for one in temperatures]
    serving = found[0] if len(found) == 1 else None
    decision["serving"] = None if serving is None else asdict(serving)
    write_file(out, json.dumps(decision, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    compared = {name: round(100 * float(decision[name]), 4) for name in ("difference", "low", "high")}
    return StageReport(
        stage="gate",
        inputs=outcomes.responses,
        values={name: float(decision[name]) for name in ("difference", "low", "high", "n", "promote")},
        scores={**role_scores(outcomes, config.weights), **compared, "promoted": float(decision["promote"])},
        notes=[str(decision["reason"]), *([] if serving is None else [f"To be served with {serving}."])],
    )


def _noting(responses: Iterable[Response], temperatures: set[float]) -> Iterator[Response]:
    """The responses; adds the temperatures of the challenger's samples."""
    for response in responses:
        if response.model == CHALLENGER and response.sample >= 0:
            temperatures.add(response.temperature)
        yield response


def decide(outcomes: Outcomes, config: GateConfig, seed: int) -> dict[str, Any]:
    """The decision that `run` writes."""
    present = {model for model, _ in outcomes.entries}
    champion = champion_of(outcomes)
    if CHALLENGER not in present or champion is None:
        raise BadData(
            f"the gate needs responses of {CHALLENGER!r} and of 'champion' or 'base', "
            f"found {', '.join(sorted(present)) or 'none'}: evaluate those models",
            field="model",
        )
    modes = [mode for model, mode in outcomes.entries if model == champion]
    k = max(outcomes.drawn, 1)
    by_mode = {mode: outcomes.scores(champion, mode, k).get(config.metric) for mode in modes}
    if lacking := [mode for mode, scores in by_mode.items() if scores is None]:
        raise BadData(
            f"the gate compares {config.metric!r}: {champion!r} has no such score in {', '.join(lacking)}: "
            "choose another metric, or evaluate again with samples and rewards"
        )
    ours, theirs = (
        compared_scores(outcomes, model, modes, config.metric, asked_of=champion)
        for model in (CHALLENGER, champion)
    )
    found, by_benchmark = _compared(outcomes, ours, theirs, config, seed)
    faults = _faults(outcomes, champion, modes)
    mark = found.mark(config.margin)
    better = mark == "holds"
    metric = config.metric if config.metric == "greedy" else f"{config.metric}@{outcomes.drawn}"
    shown = (
        f"{metric} {100 * found.value:+.1f} points compared with {champion} on {found.n} problems"
        f"{_decided_on(by_benchmark, config)}, 95 % interval {100 * found.low:+.1f} to "
        f"{100 * found.high:+.1f}"
    )
    if found.low == found.high:
        shown += " (the same difference on all problems, so there is no interval)"
    bar = "zero" if config.margin == 0 else f"the margin of {100 * config.margin:+.1f}"
    verdict = f"the interval is {'above' if better else 'not above'} {bar}"
    return {
        "promote": better and not faults,
        "mark": mark,
        "difference": found.value,
        "low": found.low,
        "high": found.high,
        "n": found.n,
        "reason": "; ".join([*faults, f"{shown}: {verdict}"]),
        "metric": metric,
        "margin": config.margin,
        "challenger": _side(CHALLENGER, modes, ours, outcomes.benchmarks, config.weights),
        "champion": _side(champion, modes, theirs, outcomes.benchmarks, config.weights),
        **_by_benchmark(outcomes.benchmarks, by_benchmark, ours, theirs, config),
    }


def _compared(
    outcomes: Outcomes,
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    config: GateConfig,
    seed: int,
) -> tuple[Difference, dict[str, Difference]]:
    """The difference to decide on, and each benchmark's; scores are [problems, modes]."""
    try:
        return weighted_difference(
            ours,
            theirs,
            outcomes.benchmarks,
            config.weights,
            seed=seed,
            clusters=outcomes.clusters,
            resamples=config.resamples,
        )
    except ValueError as error:
        raise BadConfig(f"gate.weights: {error}; give at least one more than 0") from None


def _decided_on(by_benchmark: dict[str, Difference], config: GateConfig) -> str:
    """The benchmarks that decide, with their weights where they differ; empty where there is one alone."""
    if len(by_benchmark) < 2:
        return ""
    weights = {name: config.weights.get(name, 1.0) for name in by_benchmark}
    deciding = {name: weight for name, weight in weights.items() if weight}
    equal = len(set(deciding.values())) == 1
    shown = [name if equal else f"{name} (weight {weight:g})" for name, weight in deciding.items()]
    return " of " + " and ".join([*([", ".join(shown[:-1])] if len(shown) > 1 else []), shown[-1]])


def _by_benchmark(
    benchmarks: list[str],
    differences: dict[str, Difference],
    ours: NDArray[np.float64],
    theirs: NDArray[np.float64],
    config: GateConfig,
) -> dict[str, Any]:
    """The decision's `benchmarks`: weight, difference with interval and mark, and both scores of each."""
    if len(differences) < 2:
        return {}
    names = np.array(benchmarks)
    return {
        "benchmarks": {
            name: {
                "weight": config.weights.get(name, 1.0),
                "difference": found.value,
                "low": found.low,
                "high": found.high,
                "n": found.n,
                "mark": found.mark(config.margin),
                "challenger": mean_score(ours[names == name]),
                "champion": mean_score(theirs[names == name]),
            }
            for name, found in differences.items()
        }
    }


def _faults(outcomes: Outcomes, champion: str, modes: list[str]) -> list[str]:
    faults = [
        f"{outcomes.not_finite[model]} rewards of {model} are not finite"
        for model in (CHALLENGER, champion)
        if outcomes.not_finite[model]
    ]
    for mode in modes:
        lacking = outcomes.missing(CHALLENGER, mode) - outcomes.missing(champion, mode)
        if lacking > 0:
            faults.append(
                f"{CHALLENGER} left {lacking} problems unanswered in {mode} that {champion} answered"
            )
    return faults


def _side(
    model: str,
    modes: list[str],
    scores: NDArray[np.float64],
    benchmarks: list[str],
    weights: dict[str, float],
) -> dict[str, Any]:
    """A model's score, and that of each mode in which a benchmark with a weight was asked."""
    by_mode = {}
    for column, mode in enumerate(modes):
        asked = ~np.isnan(scores[:, column])
        names = [name for name, counts in zip(benchmarks, asked, strict=True) if counts]
        if len(set(benchmarks)) < 2 or any(weights.get(name, 1.0) for name in names):
            by_mode[mode] = weighted_score(scores[asked, column : column + 1], names, weights)
    return {"model": model, "score": weighted_score(scores, benchmarks, weights), "modes": by_mode}
