"""`mathloop benchmark rft`: two iterations of rejection fine-tuning on TIR beside one with as many samples.

Both begin with the same policy and the same training problems, and keep as many responses per problem:

    one   draws twice the samples of each problem from the policy
    two   draws the samples, fine-tunes on what it kept, and draws the other half from the tuned policy, more
          of the problems that still lack responses

The policy is then fine-tuned on what each kept, and both answer the same held-out problems by greedy TIR.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mathloop.evaluation.differences import Difference, crossed_difference
from mathloop.problems.nano import generate
from mathloop.records import Problem, write_problems
from mathloop.reports.figures import percent, points
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines import load_sampler
from mathloop.settings import Settings
from mathloop.stages import Progress
from mathloop.synthesis import tir
from mathloop.synthesis.response_sampling import sample_responses
from mathloop.training.processes import train
from pipelines.benchmarks.printing import aligned

HELD_OUT = 300
"""Problems that every model answers."""
_HELD_OUT_SEED = 7_001


class Arm(NamedTuple):
    """What one way of drawing led to."""

    drawn: int
    """Responses."""
    kept: int
    right: NDArray[np.float64]
    """[problems]: 1 where the fine-tuned policy is right."""


def run(model: Path, settings: Settings, rows: int, seeds: Sequence[int]) -> None:
    """Prints both arms of each seed as it ends, and their difference over seeds and problems.

    Args:
        model: policy that both arms begin with.
        rows: nano problems to draw responses to.

    Raises the errors of the stages.
    """
    held = [one.problem for one in generate("benchmark", HELD_OUT, _HELD_OUT_SEED)]
    begin = answers(model, held, settings.tir.sampling)
    print(
        f"{rows:,} problems to learn from, {HELD_OUT} held-out ones, TIR, greedy: the policy is right on "
        f"{percent(begin.mean())}"
    )
    arms: dict[str, list[Arm]] = {"one": [], "two": []}
    for seed in seeds:
        started = time.process_time()
        with tempfile.TemporaryDirectory(prefix="mathloop-rft-") as temporary:
            problems = Path(temporary) / "problems.parquet"
            write_problems(problems, (one.problem for one in generate("train", rows, seed)))
            for name, found in arms.items():
                found.append(_arm(name, problems, model, held, settings, seed, Path(temporary) / name))
        one, two = arms["one"][-1], arms["two"][-1]
        print(
            f"seed {seed}: one {percent(one.right.mean())}, two {percent(two.right.mean())} "
            f"({time.process_time() - started:.0f} s of CPU)",
            flush=True,
        )
    print(_table(arms))
    gain = difference(arms)
    print(
        f"\ntwo less one: {points(gain.value)} [{points(gain.low)}, {points(gain.high)}] points over "
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


def difference(arms: dict[str, list[Arm]]) -> Difference:
    """What two iterations add to one; paired over problems, the interval over seeds and problems."""
    two, one = (np.stack([arm.right for arm in arms[name]]) for name in ("two", "one"))
    return crossed_difference(two, one, seed=0)


def _arm(
    name: str,
    problems: Path,
    model: Path,
    held: Sequence[Problem],
    settings: Settings,
    seed: int,
    folder: Path,
) -> Arm:
    iterations = {"one": 1, "two": 2}[name]
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
        train=learn,
        work=folder / "work",
    )
    learn(problems=problems, responses=[responses], policy=model, model=tuned, work=folder / "sft", seed=seed)
    return Arm(report.generated, report.kept, answers(tuned, held, settings.tir.sampling))


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
    return "\n" + aligned(("iterations, mean", "drawn", "kept", "TIR greedy"), rows)
