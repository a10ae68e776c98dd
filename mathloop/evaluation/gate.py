"""The promotion gate: a challenger replaces the champion only if it is significantly better.

Each problem contributes the challenger's score minus the champion's, averaged over CoT and TIR. A paired
bootstrap over problems, in which variants of one problem are resampled together, gives the 95 % interval of
the mean difference. The challenger is promoted if the interval's lower end exceeds the margin, all rewards
are finite, and it answered every problem that the champion answered.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mathloop.errors import BadData
from mathloop.evaluation.config import GateConfig
from mathloop.evaluation.differences import paired_difference
from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.roles import CHALLENGER, champion_of, role_scores
from mathloop.files import write_file
from mathloop.records import read_problems, read_responses
from mathloop.stages import StageReport, timed


@timed
def run(*, benchmark: Path, results: Path, out: Path, config: GateConfig, seed: int) -> StageReport:
    """Compares challenger and champion in `results` (Responses) and writes the decision to `out` as JSON.

    Keys: promote, mark (of the claim "better by more than the margin", see `differences`), difference, low,
    high (fractions of problems, -1 to 1), n (problems), reason, metric, margin, challenger and champion (each
    with model, score and scores per mode). Raises BadData if `results` lack the challenger, both champion and
    base, or the champion's metric.
    """
    outcomes = Outcomes(read_problems(benchmark), read_responses(results))
    decision = decide(outcomes, config, seed)
    write_file(out, json.dumps(decision, ensure_ascii=False, allow_nan=False).encode("utf-8"))
    compared = {name: round(100 * float(decision[name]), 4) for name in ("difference", "low", "high")}
    return StageReport(
        stage="gate",
        inputs=outcomes.responses,
        values={name: float(decision[name]) for name in ("difference", "low", "high", "n", "promote")},
        scores={**role_scores(outcomes), **compared, "promoted": float(decision["promote"])},
        notes=[str(decision["reason"])],
    )


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
    theirs = np.stack([scores for scores in by_mode.values() if scores is not None], axis=1)
    zeros = np.zeros(len(outcomes.problems))
    ours = np.stack(
        [outcomes.scores(CHALLENGER, mode, k).get(config.metric, zeros) for mode in modes], axis=1
    )
    found = paired_difference(ours, theirs, seed=seed, clusters=outcomes.clusters, resamples=config.resamples)
    faults = _faults(outcomes, champion, modes)
    mark = found.mark(config.margin)
    better = mark == "holds"
    metric = config.metric if config.metric == "greedy" else f"{config.metric}@{outcomes.drawn}"
    shown = (
        f"{metric} {100 * found.value:+.1f} points compared with {champion} on {found.n} problems, "
        f"95 % interval {100 * found.low:+.1f} to {100 * found.high:+.1f}"
    )
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
        "challenger": _side(CHALLENGER, modes, ours),
        "champion": _side(champion, modes, theirs),
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


def _side(model: str, modes: list[str], scores: NDArray[np.float64]) -> dict[str, Any]:
    by_mode = {mode: float(scores[:, column].mean()) for column, mode in enumerate(modes)}
    return {"model": model, "score": float(scores.mean()), "modes": by_mode}
