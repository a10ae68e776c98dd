"""The program of every pod of a sampling Job: `python3 -m mathloop.cluster.sampling_node`.

The task comes from the environment as JSON, its inputs from the store. The pod runs the stage and draws its
part of the shards (`mathloop.sampling.sharing`). A shard that is in the store is done, so a pod that was
killed loses the shard that it was at.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mathloop.cluster.node_tasks import parse
from mathloop.cluster.sampling_job_spec import TASK_VARIABLE
from mathloop.cluster.termination import terminable
from mathloop.errors import BadConfig, MathloopError, StorageRefused
from mathloop.sampling.sharing import Pod, Shards
from mathloop.sampling.sources import sampling_from
from mathloop.stages import OUTPUTS
from mathloop.storage import open_store

INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""Kubernetes sets it in the pods of an Indexed Job."""
STAGES = {
    "cot": "mathloop.synthesis.cot:run",
    "tir": "mathloop.synthesis.tir:run",
    "reward_data": "mathloop.synthesis.reward_data:run",
    "selection": "mathloop.synthesis.selection:run",
    "evaluation": "mathloop.evaluation.evaluate:run_round",
    "champion_evaluation": "mathloop.evaluation.evaluate:run",
    "writing": "mathloop.writing.write:run",
    "written_problems": "mathloop.writing.from_nothing:write_all",
}
"""Component → the function that its pods run: all of its stage that samples."""
WAITING = ("writing", "written_problems")
"""Stages whose prompts depend on earlier responses."""


class Task(BaseModel):
    """One stage of sampling; its inputs and outputs are artifacts of a store."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    store_url: str
    name: str
    """Artifacts `<name>/inputs/<argument>`, and those of `Shards`."""
    inputs: tuple[str, ...]
    """Arguments that are files or folders; `models.sft` is an entry of `models`."""
    absent: tuple[str, ...] = ()
    """The same, which are empty or missing."""
    values: dict[str, str]
    """Other arguments → JSON."""
    shard_responses: int = Field(ge=1)
    pods: int = Field(ge=1)

    def artifact(self, argument: str) -> str:
        """The artifact of an input."""
        return f"{self.name}/inputs/{argument}"

    def shards(self) -> Shards:
        """The shards of all pods."""
        store, waits = open_store(self.store_url), self.stage in WAITING
        return Shards(store, self.name, self.shard_responses, self.pods, waits)


def main() -> None:
    """Runs the task; a user's mistake is one line on stderr."""
    try:
        # A container's first process does not end by SIGTERM unless it asks for it: a job that is deleted, or
        # that failed by another pod, would keep its nodes for the whole grace period.
        with terminable():
            run(os.environ.get(TASK_VARIABLE, ""), os.environ.get(INDEX_VARIABLE, "0"))
    except MathloopError as error:
        print(f"mathloop: error: {' '.join(str(error).split())}", file=sys.stderr, flush=True)
        # A store that is away, or a full disk, is not a mistake that another pod would repeat.
        sys.exit(1 if isinstance(error, StorageRefused) else error.exit_code)


def run(text: str, index: str) -> None:
    """Draws the shards of pod `index` that the store lacks. Raises BadConfig and the stage's errors."""
    task = parse(TASK_VARIABLE, text, Task)
    shards, number = task.shards(), int(index)
    if shards.store.exists(shards.end(number)):
        print(f"{task.stage}: the shards of this pod are done", flush=True)
        return
    function = find_function(task.stage)

    def say(text: str) -> None:
        print(f"{task.stage}: {text}", flush=True)

    with tempfile.TemporaryDirectory(prefix="mathloop-") as folder:
        pod = Pod(shards, number, say=say)
        arguments = _values(function, task)
        for argument in (*task.inputs, *task.absent):
            path = Path(folder, "inputs", argument)
            if argument in task.inputs:
                path.parent.mkdir(parents=True, exist_ok=True)
                shards.store.fetch(task.artifact(argument), path)
            name, _, entry = argument.partition(".")
            if entry:
                arguments.setdefault(name, {})[entry] = path
            else:
                arguments[name] = path
        results = Path(folder, "results")
        results.mkdir()
        arguments |= {name: results / name for name in OUTPUTS if name in signature(function).parameters}
        with sampling_from(pod):
            function(**arguments)
        pod.end()


def find_function(stage: str) -> Callable[..., Any]:
    """What pods run for the stage. Raises BadConfig."""
    if stage not in STAGES:
        raise BadConfig(f"stage {stage!r}: expected one of {', '.join(STAGES)}; compile the profile again")
    module, _, name = STAGES[stage].partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def _values(function: Callable[..., Any], task: Task) -> dict[str, Any]:
    hints = get_type_hints(function)
    values = {}
    for name, text in task.values.items():
        try:
            values[name] = TypeAdapter(hints[name]).validate_json(text)
        except ValidationError as error:
            mistake = error.errors()[0]
            where = ".".join(str(part) for part in (name, *mistake["loc"]))
            raise BadConfig(f"{TASK_VARIABLE}: {where}: {mistake['msg']}; launch the step again") from None
    return values


if __name__ == "__main__":
    main()
