"""Runs a recipe in this process, or in several processes of this machine by torchrun, one per GPU.

    report = train("sft", problems=..., responses=[...], policy=..., model=..., work=..., config=..., seed=0)

With several processes, `python -m mathloop.training.processes TASK` reads the arguments from a JSON file in
the work folder, and the report or the one line of an error comes back as a file too.
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
    """Trains with `config.engine.processes` processes and returns the stage's report.

    Args:
        paths: files and folders that the recipe's `run` reads and writes.

    Raises:
        MathloopError: as the process raised it that failed first.
    """
    processes = config.engine.processes or _gpus()
    if processes == 1 or "WORLD_SIZE" in os.environ:
        return run_recipe(recipe, work=work, config=config, seed=seed, paths=paths)
    if _gpus() > 1 and processes > _gpus():
        raise BadConfig(f"engine.processes={processes}: this machine has {_gpus()} GPUs, set no more")
    work.mkdir(parents=True, exist_ok=True)
    task, report, failure = (work / f"launch.{name}.json" for name in ("task", "report", "failure"))
    for leftover in (report, failure):
        leftover.unlink(missing_ok=True)
    payload = {"recipe": recipe, "work": str(work), "config": config.model_dump_json(), "seed": seed}
    payload |= {"paths": {name: _as_json(path) for name, path in paths.items()}}
    payload |= {"report": str(report), "failure": str(failure)}
    task.write_text(json.dumps(payload), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += [f"--nproc-per-node={processes}", "-m", __name__, str(task)]
    threads = max(1, len(os.sched_getaffinity(0)) // processes)
    with _forwarding_sigterm(command, {"OMP_NUM_THREADS": str(threads)}) as process:
        code = process.wait()
    if report.is_file():
        return StageReport.read(report)
    if failure.is_file():
        raise MathloopError.from_row(json.loads(failure.read_text(encoding="utf-8")))
    raise MathloopError(f"{recipe}: a training process ended with exit code {code} without a message")


def run_recipe(
    recipe: Recipe, *, work: Path, config: RecipeConfig, seed: int, paths: dict[str, Any]
) -> StageReport:
    """Runs the recipe in this process, which may be one of several."""
    module = importlib.import_module(f"mathloop.training.{recipe}")
    report: StageReport = module.run(**paths, work=work, config=config, seed=seed)
    return report


def main() -> None:
    """Runs one of several processes: rank 0 writes the report, the first that fails writes its error."""
    payload = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    recipe, work, seed = payload["recipe"], Path(payload["work"]), payload["seed"]
    paths: Paths = {name: _from_json(value) for name, value in payload["paths"].items()}
    try:
        config = CONFIGS[recipe].model_validate_json(payload["config"])
        report = run_recipe(recipe, work=work, config=config, seed=seed, paths=paths)
    except MathloopError as error:
        try:
            with open(payload["failure"], "x", encoding="utf-8") as file:
                json.dump(error.to_row(), file)
        except FileExistsError:
            pass
        sys.exit(error.exit_code)
    if os.environ["RANK"] == "0":
        report.write(Path(payload["report"]))


@contextmanager
def _forwarding_sigterm(command: list[str], variables: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a command that gets the SIGTERM that this process gets, and that never outlives this block."""
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


def _as_json(path: Any) -> Any:
    return [str(one) for one in path] if isinstance(path, list) else str(path) if path else None


def _from_json(value: Any) -> Path | list[Path] | None:
    return [Path(one) for one in value] if isinstance(value, list) else Path(value) if value else None


if __name__ == "__main__":
    main()
