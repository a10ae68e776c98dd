"""What every process of a TrainJob runs: `torchrun -m mathloop.cluster.training_node`.

The task comes from the environment as JSON, its inputs from the store, and the model and the stage's report
go back there. Training itself is one process today: rank 0 trains, the others end at once. The issue of
training on many GPUs replaces `_train` by a recipe that all ranks enter, and keeps its checkpoints in the
store, so that a node that was lost goes on from the last one; task, job and launcher stay as they are.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from mathloop.cluster.train_job import TASK_VARIABLE
from mathloop.errors import BadConfig, MathloopError
from mathloop.storage import open_store

Recipe = Literal["pretrain", "sft", "reward_model", "grpo"]
CONFIGS: dict[str, str] = {
    "pretrain": "PretrainConfig",
    "sft": "SFTConfig",
    "reward_model": "RewardModelConfig",
    "grpo": "GRPOConfig",
}


class Task(BaseModel):
    """One training, by names of artifacts in a store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    recipe: Recipe
    store_url: str
    inputs: dict[str, str]
    """Name of an argument (problems, cot, tir, responses, policy, reward_model, corpus) → artifact."""
    output: str
    """Artifacts `<output>/model` and, published last, `<output>/report`."""
    config: str
    seed: int


def main() -> None:
    """Does the task; a mistake of the user is one line on stderr."""
    rank = int(os.environ.get("RANK", "0"))
    if rank != 0:
        print(f"rank {rank}: training is one process yet; nothing to do", flush=True)
        return
    try:
        run(os.environ.get(TASK_VARIABLE, ""))
    except MathloopError as error:
        print(f"mathloop: error: {error}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code)


def run(text: str) -> None:
    """Fetches the task's inputs, trains, and publishes model and report."""
    try:
        task = Task.model_validate_json(text)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise BadConfig(f"{TASK_VARIABLE}: {field or 'not JSON'}: launch the step again") from None
    store = open_store(task.store_url)
    with tempfile.TemporaryDirectory(prefix="mathloop-") as folder:
        paths = {name: Path(folder, "inputs", name) for name in task.inputs}
        for name, artifact in task.inputs.items():
            paths[name].parent.mkdir(parents=True, exist_ok=True)
            store.fetch(artifact, paths[name])
        model, report = Path(folder, "model"), Path(folder, "report.json")
        _train(task, paths, model, Path(folder, "work")).write(report)
        store.publish(model, f"{task.output}/model")
        store.publish(report, f"{task.output}/report")


def _train(task: Task, paths: dict[str, Path], model: Path, work: Path) -> Any:
    recipe = importlib.import_module(f"mathloop.training.{task.recipe}")
    config = getattr(importlib.import_module("mathloop.training.config"), CONFIGS[task.recipe])
    arguments: dict[str, Any] = dict(paths)
    if task.recipe == "sft":
        arguments["responses"] = [arguments.pop("cot"), arguments.pop("tir")]
    work.mkdir(parents=True, exist_ok=True)
    return recipe.run(
        **arguments,
        model=model,
        work=work,
        config=config.model_validate_json(task.config),
        seed=task.seed,
    )


if __name__ == "__main__":
    main()
