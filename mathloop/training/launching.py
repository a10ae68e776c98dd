"""Starts a recipe: in this process, or in several of this machine by torchrun, one a GPU.

    report = train("sft", problems=..., responses=[...], policy=..., model=..., work=..., config=..., seed=0)

With several, the arguments go to `python -m mathloop.training.launching TASK` as JSON in the work folder, and
the report, or the one line of what is wrong, comes back the same way.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from mathloop import errors
from mathloop.errors import BadConfig, MathloopError
from mathloop.stages import StageReport
from mathloop.training.config import GRPOConfig, PretrainConfig, RewardModelConfig, SFTConfig

Recipe = Literal["pretrain", "sft", "reward_model", "grpo"]
RecipeConfig = PretrainConfig | SFTConfig | RewardModelConfig | GRPOConfig
CONFIGS: dict[Recipe, type[RecipeConfig]] = {
    "pretrain": PretrainConfig,
    "sft": SFTConfig,
    "reward_model": RewardModelConfig,
    "grpo": GRPOConfig,
}
Paths = dict[str, Path | list[Path] | None]


def train(recipe: Recipe, *, work: Path, config: RecipeConfig, seed: int, **paths: Any) -> StageReport:
    """Trains with as many processes as `config.engine` asks for and returns the stage's report.

    Args:
        paths: what the recipe's `run` reads and writes.

    Raises:
        MathloopError: whatever a process raises, in its own words.
    """
    processes = config.engine.processes or _gpus()
    if processes == 1 or "WORLD_SIZE" in os.environ:
        return run_recipe(recipe, work=work, config=config, seed=seed, paths=paths)
    if _gpus() > 1 and processes > _gpus():
        raise BadConfig(f"engine.processes={processes}: {_gpus()} GPUs are here; take at most as many")
    work.mkdir(parents=True, exist_ok=True)
    task, report, failure = (work / f"launch.{name}.json" for name in ("task", "report", "failure"))
    for left in (report, failure):
        left.unlink(missing_ok=True)
    told = {"recipe": recipe, "work": str(work), "config": config.model_dump_json(), "seed": seed}
    told |= {"paths": {name: _plain(path) for name, path in paths.items()}}
    told |= {"report": str(report), "failure": str(failure)}
    task.write_text(json.dumps(told), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", __name__, str(task)]
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    with _passing_on_sigterm(command, {"OMP_NUM_THREADS": str(threads)}) as process:
        code = process.wait()
    if report.is_file():
        return StageReport.read(report)
    if failure.is_file():
        raise _error_from(json.loads(failure.read_text(encoding="utf-8")))
    raise MathloopError(f"{recipe}: a training process ended with exit code {code} and said nothing more")


def run_recipe(
    recipe: Recipe, *, work: Path, config: RecipeConfig, seed: int, paths: dict[str, Any]
) -> StageReport:
    """Runs the recipe in this process, which may be one of several."""
    module = importlib.import_module(f"mathloop.training.{recipe}")
    report: StageReport = module.run(**paths, work=work, config=config, seed=seed)
    return report


def main() -> None:
    """One of several processes; the first writes the report, whoever fails first writes why."""
    told = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    recipe = told["recipe"]
    paths: Paths = {name: _path(value) for name, value in told["paths"].items()}
    try:
        config = CONFIGS[recipe].model_validate_json(told["config"])
        report = run_recipe(recipe, work=Path(told["work"]), config=config, seed=told["seed"], paths=paths)
    except MathloopError as error:
        what = {"type": type(error).__name__, "message": str(error), "exit_code": error.exit_code}
        try:
            with open(told["failure"], "x", encoding="utf-8") as file:
                json.dump(what, file)
        except FileExistsError:
            pass
        sys.exit(error.exit_code)
    if os.environ["RANK"] == "0":
        report.write(Path(told["report"]))


def _error_from(told: dict[str, Any]) -> MathloopError:
    """The error that a process wrote down; its message already says where."""
    kind = getattr(errors, told["type"], MathloopError)
    error: MathloopError = kind(told["message"])
    error.exit_code = told["exit_code"]
    return error


@contextmanager
def _passing_on_sigterm(command: list[str], variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command that SIGTERM here also reaches, and that never outlives this block."""
    process = subprocess.Popen(command, env={**os.environ, **variables})
    before: Any = None
    main_thread = threading.current_thread() is threading.main_thread()
    if main_thread:
        before = signal.signal(signal.SIGTERM, lambda *_: process.send_signal(signal.SIGTERM))
    try:
        yield process
    finally:
        if main_thread:
            signal.signal(signal.SIGTERM, before)
        if process.poll() is None:
            process.terminate()
            process.wait()


def _gpus() -> int:
    import torch

    return max(1, torch.cuda.device_count())


def _plain(path: Any) -> Any:
    return [str(one) for one in path] if isinstance(path, list) else str(path) if path else None


def _path(value: Any) -> Path | list[Path] | None:
    return [Path(one) for one in value] if isinstance(value, list) else Path(value) if value else None


if __name__ == "__main__":
    main()
