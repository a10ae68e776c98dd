"""The program of every process of a TrainJob: `torchrun -m mathloop.cluster.training_node`.

The task comes from the environment as JSON, its inputs from the store: local rank 0 of each node fetches
them, all processes train, and rank 0 publishes the model and the stage's report. Checkpoints go to the store
too, so that replaced nodes resume from the newest one.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from mathloop.cluster.node_tasks import parse
from mathloop.cluster.train_job_spec import TASK_VARIABLE
from mathloop.errors import MathloopError
from mathloop.storage import Store, open_store
from mathloop.training.config import CHECKPOINTS_VARIABLE
from mathloop.training.processes import CONFIGS, Recipe, run_recipe


class Task(BaseModel):
    """One training; its inputs and outputs are artifacts of a store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    store_url: str
    inputs: dict[str, str]
    """Name of an argument (problems, cot, tir, responses, policy, reward_model, corpus) → artifact."""
    output: str
    """Artifacts `<output>/model`, `<output>/rollouts` of grpo and, published last, `<output>/report`."""
    config: str
    seed: int


def main() -> None:
    """Runs the task; a user's mistake is one line on stderr."""
    try:
        run(os.environ.get(TASK_VARIABLE, ""))
    except MathloopError as error:
        print(f"mathloop: error: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


def run(text: str) -> None:
    """Fetches the task's inputs, trains, and publishes model and report."""
    task = parse(TASK_VARIABLE, text, Task)
    config = parse(TASK_VARIABLE, task.config, CONFIGS[task.recipe])
    from mathloop.training.ranks import join_ranks

    os.environ.setdefault(CHECKPOINTS_VARIABLE, task.store_url)
    store, ranks = open_store(task.store_url), join_ranks()
    # One folder per node, shared by its processes.
    name = f"mathloop-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    folder = Path(tempfile.gettempdir(), name)
    leads = os.environ.get("LOCAL_RANK", "0") == "0"
    try:
        paths = _inputs(task, store, folder, fetch=leads)
        ranks.barrier()
        model, rollouts = folder / "model", folder / "rollouts.parquet"
        arguments = arguments_of(task.recipe, paths, model, rollouts)
        report = run_recipe(task.recipe, work=folder / "work", config=config, seed=task.seed, paths=arguments)
        if ranks.first:
            written = folder / "report.json"
            report.write(written)
            store.publish(model, f"{task.output}/model")
            if rollouts.is_file():
                store.publish(rollouts, f"{task.output}/rollouts")
            store.publish(written, f"{task.output}/report")
        ranks.barrier()
    finally:
        if leads:
            shutil.rmtree(folder, ignore_errors=True)


def arguments_of(recipe: Recipe, inputs: dict[str, Path], model: Path, rollouts: Path) -> dict[str, Any]:
    """The arguments of the recipe's `run` that are files or folders."""
    arguments: dict[str, Any] = {**inputs, "model": model}
    if recipe == "sft":
        arguments["responses"] = [arguments.pop("cot"), arguments.pop("tir")]
    if recipe == "grpo":
        arguments["rollouts"] = rollouts
    return arguments


def _inputs(task: Task, store: Store, folder: Path, *, fetch: bool) -> dict[str, Path]:
    paths = {name: folder / "inputs" / name for name in task.inputs}
    if fetch:
        shutil.rmtree(folder, ignore_errors=True)
        for name, artifact in task.inputs.items():
            paths[name].parent.mkdir(parents=True, exist_ok=True)
            store.fetch(artifact, paths[name])
    return paths


if __name__ == "__main__":
    main()
