"""`mathloop benchmark rft`: two iterations of rejection fine-tuning on TIR beside one with as many samples.

All begin with the same policy and the same training problems, and keep at most as many responses per problem:

    one       draws twice the samples of each problem from the policy
    two       draws the samples, fine-tunes on what it kept, and draws up to as many again from the tuned
              policy, more of the problems that still lack responses
    no tuning draws as two does, but from the policy itself: what choosing the problems does alone

The policy is then fine-tuned on what each kept, and all answer the same held-out problems by greedy TIR.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from shutil import copytree
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathloop.evaluation.differences import Difference, crossed_difference
from mathloop.problems.nano import generate
from mathloop.records import Problem, write_problems
from mathloop.reports.figures import percent, points
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines import load_sampler
from mathloop.settings import Settings
from mathloop.stages import Progress, StageReport
from mathloop.synthesis import tir
from mathloop.synthesis.response_sampling import sample_responses
from mathloop.training.processes import train
from pipelines.benchmarks.printing import aligned

HELD_OUT = 300
"""Problems that every model answers."""
_HELD_OUT_SEED = 7_001
ARMS = {"one": 1, "two": 2, "no tuning": 2}
"""Name → iterations."""


class Arm(NamedTuple):
    """What one way of drawing led to."""

    drawn: int
    """Responses."""
    kept: int
    right: NDArray[np.float64]
    """[problems]: 1 where the fine-tuned policy is right."""


def run(model: Path, settings: Settings, rows: int, seeds: Sequence[int]) -> None:
    """Prints the arms of each seed as it ends, and their differences over seeds and problems.

    Args:
        model: policy that all arms begin with.
        rows: nano problems to draw responses to.

    Raises the errors of the stages.
    """
    held = [one.problem for one in generate("benchmark", HELD_OUT, _HELD_OUT_SEED)]
    begin = answers(model, held, settings.tir.sampling)
    print(
        f"{rows:,} problems to learn from, {HELD_OUT} held-out ones, TIR, greedy: the policy is right on "
        f"{percent(begin.mean())}"
    )
    arms: dict[str, list[Arm]] = {name: [] for name in ARMS}
    for seed in seeds:
        started = time.process_time()
        with tempfile.TemporaryDirectory(prefix="mathloop-rft-") as temporary:
            problems = Path(temporary) / "problems.parquet"
            write_problems(problems, (one.problem for one in generate("train", rows, seed)))
            for name, found in arms.items():
                found.append(_arm(name, problems, model, held, settings, seed, Path(temporary) / name))
        shown = ", ".join(f"{name} {percent(found[-1].right.mean())}" for name, found in arms.items())
        print(f"seed {seed}: {shown} ({time.process_time() - started:.0f} s of CPU)", flush=True)
    print(f"\n{_table(arms)}\n")
    for name in ("one", "no tuning"):
        gain = difference(arms["two"], arms[name])
        print(
            f"two less {name}: {points(gain.value)} [{points(gain.low)}, {points(gain.high)}] points over "
            f"{len(seeds)} seeds and {gain.n} problems: {gain.mark()}"
        )


def answers(model: Path, problems: Sequence[Problem], sampling: SamplingConfig) -> NDArray[np.float64]:
    """[problems]: 1 where the model's greedy TIR response is right."""
    with load_sampler(model, sampling) as sampler:
        drawn = sample_responses(
            sampler,
            problems,
            mode="tir",
            samples=1,
            temperature=0.0,
            seed=0,
            progress=Progress("evaluation", len(problems), "responses"),
        )
        return np.array([float(bool(responses[0].correct)) for _, responses in drawn])


def difference(greater: Sequence[Arm], lesser: Sequence[Arm]) -> Difference:
    """Of two arms, each with all seeds; paired over problems, the interval over seeds and problems."""
    sides = (np.stack([arm.right for arm in side]) for side in (greater, lesser))
    return crossed_difference(*sides, seed=0)


def _arm(
    name: str,
    problems: Path,
    model: Path,
    held: Sequence[Problem],
    settings: Settings,
    seed: int,
    folder: Path,
) -> Arm:
    iterations = ARMS[name]
    samples = settings.tir.samples * 2 // iterations
    config = settings.tir.model_copy(update={"iterations": iterations, "samples": samples})
    folder.mkdir()
    responses, tuned = folder / "responses.parquet", folder / "policy"
    learn = partial(train, "sft", config=settings.sft)
    report = tir.run(
        problems=problems,
        policy=model,
        out=responses,
        config=config,
        seed=seed,
        train=_copied if name == "no tuning" else learn,
        work=folder / "work",
    )
    learn(problems=problems, responses=[responses], policy=model, model=tuned, work=folder / "sft", seed=seed)
    return Arm(report.generated, report.kept, answers(tuned, held, settings.tir.sampling))


def _copied(*, policy: Path, model: Path, **_: Any) -> StageReport:
    """Stands where a fine-tuning is, and leaves the policy as it is."""
    copytree(policy, model)
    return StageReport("sft")


def _table(arms: dict[str, list[Arm]]) -> str:
    rows = [
        (
            name,
            f"{np.mean([arm.drawn for arm in found]):,.0f}",
            f"{np.mean([arm.kept for arm in found]):,.0f}",
            percent(float(np.mean([arm.right for arm in found]))),
        )
        for name, found in arms.items()
    ]
    return aligned(("mean of seeds", "drawn", "kept", "TIR greedy"), rows)
