"""One stage in a process of its own, with a sampler that answers by a script; prints time and peak memory.

python -m pipelines.benchmarks.stage_process STAGE FOLDER
python -m pipelines.benchmarks.stage_process engine

The second prints the memory of what a real sampler imports besides.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from mathloop.records import Mode, Problem, Response
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.sampler import Rollout, Sampler
from pipelines.benchmarks.memory import memory

BATCH = 32
"""Problems that the scripted sampler answers at a time."""
WORDS = "Adding the parts one after the other we get the sum of all that is left over in this step. "


class Scripted(Sampler):
    """Three of four responses are right, as long as a real one, and half of them ran Python."""

    config = SamplingConfig()

    def close(self) -> None:
        """Holds nothing."""

    def take_weights(self, weights: Iterable[Any]) -> None:
        """Has no weights."""

    def sleep(self) -> None:
        """Holds nothing."""

    def wake(self) -> None:
        """Holds nothing."""

    def fits(self, problem: Problem, mode: Mode) -> bool:
        """Every problem is short."""
        return True

    def stream(
        self,
        problems: Sequence[Problem],
        *,
        mode: Mode,
        samples: int,
        temperature: float,
        seed: int,
        first: int = 0,
    ) -> Iterator[list[Rollout]]:
        """Yields the responses of `BATCH` problems at a time."""
        for start in range(0, len(problems), BATCH):
            yield [
                Rollout(_response(problem, sample, mode, temperature), [], [], [], [])
                for problem in problems[start : start + BATCH]
                for sample in range(samples)
            ]


def _response(problem: Problem, sample: int, mode: Mode, temperature: float) -> Response:
    draw = random.Random(f"{problem.id} {sample} {mode} {temperature}")
    answer = problem.answer if draw.random() < 0.75 else str(draw.randrange(1000))
    return Response(
        problem.id,
        sample,
        mode,
        f"{WORDS * draw.randint(2, 6)}\\boxed{{{answer}}}",
        answer,
        tokens=200,
        tool_calls=int(mode == "tir" and draw.random() < 0.5),
        temperature=temperature,
        model="policy",
    )


def _selection(folder: Path) -> Any:
    from mathloop.synthesis import selection
    from mathloop.synthesis.config import SelectionConfig

    return _with_script(selection), {"config": SelectionConfig()}


def _cot(folder: Path) -> Any:
    from mathloop.synthesis import cot
    from mathloop.synthesis.config import CoTConfig

    return _with_script(cot), {"config": CoTConfig(), "reward_model": None}


def _tir(folder: Path) -> Any:
    from mathloop.synthesis import tir
    from mathloop.synthesis.config import TIRConfig

    return _with_script(tir), {"config": TIRConfig(samples=4, temperatures=(0.7, 1.0))}


def _reward_data(folder: Path) -> Any:
    from mathloop.synthesis import reward_data
    from mathloop.synthesis.config import RewardDataConfig

    return _with_script(reward_data), {"config": RewardDataConfig(samples=8)}


def _with_script(stage: ModuleType) -> Callable[..., Any]:
    stage.load_sampler = lambda *_: Scripted()  # type: ignore[attr-defined]  # stands for a model's sampler
    run: Callable[..., Any] = stage.run
    return run


def _evaluation(folder: Path) -> Any:
    from mathloop.evaluation import evaluate
    from mathloop.evaluation.config import EvaluationConfig

    arguments = {"config": EvaluationConfig(), "models": {"policy": folder}, "reward_model": folder / "none"}
    return _with_script(evaluate), arguments


def _scoring(folder: Path) -> Any:
    from mathloop.evaluation.scoring import score_table
    from mathloop.records import read_problems, read_responses

    def run(**_: Any) -> None:
        score_table(read_problems(folder / "problems.parquet"), read_responses(folder / "results"), k=8)

    return run, {}


SYNTHESIS = {"selection": _selection, "cot": _cot, "tir": _tir, "reward data": _reward_data}
"""Stages that sample from a policy for a file of problems."""
EVALUATION = {"evaluation": _evaluation, "scoring": _scoring}
"""Answers a benchmark, greedily and with eight samples, in CoT and TIR; scores what `evaluation` wrote."""


def problems_stage(folder: Path) -> None:
    """The round's problems out of a file."""
    from mathloop.problems import build
    from mathloop.problems.config import ProblemsConfig

    build.run(
        problems_file=folder / "problems.jsonl",
        out=folder / "train",
        benchmark=folder / "benchmark",
        config=ProblemsConfig(),
        seed=0,
    )


def evaluation_stage(stage: str, folder: Path) -> None:
    """A stage of `EVALUATION`."""
    run, arguments = EVALUATION[stage](folder)
    run(benchmark=folder / "problems.parquet", out=folder / "results", seed=0, **arguments)


def synthesis_stage(stage: str, folder: Path) -> None:
    """A stage of `SYNTHESIS`, as a pod runs it."""
    run, arguments = SYNTHESIS[stage](folder)
    run(
        problems=folder / "problems.parquet",
        policy=folder,
        out=folder / "out",
        dropped=folder / "dropped",
        seed=0,
        **arguments,
    )


def engine_imports() -> dict[str, float]:
    """MiB that transformers' engine and a model's code add to a stage's process, and of it pages of files."""
    from mathloop.synthesis import cot  # noqa: F401  # what the stage itself has imported

    before = {name: memory(name) for name in ("VmRSS", "RssFile")}
    from transformers.models.qwen2 import modeling_qwen2  # noqa: F401

    from mathloop.sampling.engines import engine

    engine("transformers")
    return {"mib": memory("VmRSS") - before["VmRSS"], "files": memory("RssFile") - before["RssFile"]}


def main() -> None:
    """Runs the stage of the command line."""
    if sys.argv[1:] == ["engine"]:
        print(json.dumps(engine_imports()))
        return
    stage, folder = sys.argv[1], Path(sys.argv[2])
    known = SYNTHESIS | EVALUATION
    if stage in known:
        known[stage](folder)  # imports the stage
    before = memory("VmRSS")
    started = time.process_time()
    if stage == "problems":
        problems_stage(folder)
    elif stage in EVALUATION:
        evaluation_stage(stage, folder)
    else:
        synthesis_stage(stage, folder)
    seconds = time.process_time() - started
    peak = memory("VmHWM")
    print(json.dumps({"seconds": seconds, "mib": peak, "files": memory("RssFile"), "added": peak - before}))


if __name__ == "__main__":
    main()
