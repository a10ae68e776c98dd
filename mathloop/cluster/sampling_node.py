"""The program of every pod of a sampling Job: `python3 -m mathloop.cluster.sampling_node`.

The task comes from the environment as JSON, its inputs from the store. Pod i of n does shards i, i + n, … of
the problems. A shard that is in the store is done, so a pod that was killed loses the shard that it was at.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
import tempfile
from itertools import islice
from pathlib import Path
from shutil import rmtree
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from mathloop.cluster.node_tasks import read_task
from mathloop.cluster.sampling_job_spec import TASK_VARIABLE
from mathloop.errors import MathloopError, StorageRefused
from mathloop.records import read_problems, write_problems
from mathloop.storage import Store, open_store
from mathloop.synthesis.config import CoTConfig, RewardDataConfig, TIRConfig

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Kubernetes sets it in the pods of an Indexed Job."""
RESPONSES, DROPPED, REPORT = "responses.parquet", "dropped.jsonl", "report.json"
"""Files of a shard's artifact."""
CONFIGS: dict[str, type[CoTConfig] | type[TIRConfig] | type[RewardDataConfig]] = {
    "cot": CoTConfig,
    "tir": TIRConfig,
    "reward_data": RewardDataConfig,
}

MODELS = {"cot": ("reward_model",), "tir": (), "reward_data": ("champion",)}
"""Stage → its models beside the policy; each may be missing."""


class Task(BaseModel):
    """One stage of sampling; its inputs and outputs are artifacts of a store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: Literal["cot", "tir", "reward_data"]
    store_url: str
    inputs: dict[str, str]
    """Name of an argument (problems, policy, reward_model, champion) → artifact."""
    output: str
    """Artifacts `<output>/<shard>`."""
    config: str
    seed: int
    shard_problems: int = Field(ge=1)
    shards: int = Field(ge=1)
    pods: int = Field(ge=1)

    def artifact(self, shard: int) -> str:
        """The artifact of a shard, from 0; it is the marker that the shard is done."""
        return f"{self.output}/{shard}"


def main() -> None:
    """Runs the task; a user's mistake is one line on stderr."""
    try:
        run(os.environ.get(TASK_VARIABLE, ""), os.environ.get(INDEX_VARIABLE, "0"))
    except MathloopError as error:
        print(f"mathloop: error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        # A store that is away, or a full disk, is not a mistake that another pod would repeat.
        sys.exit(1 if isinstance(error, StorageRefused) else error.exit_code)


def run(text: str, index: str) -> None:
    """Does the shards of pod `index` that the store lacks. Raises BadConfig and the stage's errors."""
    task, config = read_task(TASK_VARIABLE, text, Task, lambda task: (CONFIGS[task.stage], task.config))
    store = open_store(task.store_url)
    mine = range(int(index), task.shards, task.pods)
    left = [shard for shard in mine if not store.exists(task.artifact(shard))]
    print(f"{task.stage}: {len(mine) - len(left)} of {len(mine)} shards of this pod are done", flush=True)
    if not left:
        return
    from mathloop.sampling.engines import kept_samplers

    with tempfile.TemporaryDirectory(prefix="mathloop-") as folder, kept_samplers():
        paths = {name: Path(folder, "inputs", name) for name in task.inputs}
        for name, artifact in task.inputs.items():
            paths[name].parent.mkdir(parents=True, exist_ok=True)
            store.fetch(artifact, paths[name])
        for shard in left:
            _draw(task, config, store, paths, shard, Path(folder, "shards", str(shard)))


def _draw(
    task: Task, config: BaseModel, store: Store, paths: dict[str, Path], shard: int, folder: Path
) -> None:
    folder.mkdir(parents=True)
    problems, results = folder / "problems.parquet", folder / "results"
    results.mkdir()
    first = shard * task.shard_problems
    write_problems(problems, islice(read_problems(paths["problems"]), first, first + task.shard_problems))
    models = {name: paths.get(name) for name in ("policy", *MODELS[task.stage])}
    report = importlib.import_module(f"mathloop.synthesis.{task.stage}").run(
        problems=problems,
        out=results / RESPONSES,
        dropped=results / DROPPED,
        config=config,
        seed=seed_of(task.seed, shard),
        **models,
    )
    report.write(results / REPORT)
    try:
        store.publish(results, task.artifact(shard))
    except StorageRefused:
        # The pod that this one replaces was only cut off, and has published the shard meanwhile.
        if not store.exists(task.artifact(shard)):
            raise
    rmtree(folder)
    print(f"{task.stage}: shard {shard + 1} of {task.shards} is done", flush=True)


def seed_of(seed: int, shard: int) -> int:
    """The seed of a shard: the stage's own for the first one, whatever the number of pods."""
    return random.Random(f"{seed}-{shard}").getrandbits(31) if shard else seed


if __name__ == "__main__":
    main()
