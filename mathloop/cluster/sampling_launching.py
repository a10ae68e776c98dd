"""Sampling on several pods: a stage's inputs are published, a Job draws, and the stage reads what it drew.

A stage that was killed resumes: published inputs are not sent again, the job is found by its name, and only
shards that are missing are drawn. Once the stage has written its outputs, nothing of it is left in the store.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from mathloop.cluster import sampling_job_spec, train_job
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.sampling_node import Task, find_function
from mathloop.cluster.train_job_launching import NAMESPACE, Access
from mathloop.cluster.train_job_spec import job_name
from mathloop.errors import BadConfig
from mathloop.files import filled
from mathloop.sampling.sharing import Replay, Shards
from mathloop.sampling.sources import sampling_from, sampling_seconds
from mathloop.settings.pools import SamplerPool
from mathloop.stages import OUTPUTS, StageReport, split_arguments
from mathloop.validation import first_mistake

FOLDER = "sampling"
"""Artifacts `sampling/<run>/<stage>/…`."""


class Pods(BaseModel):
    """The pods that share a stage's sampling, as the pipeline was compiled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stage: str
    """A component of `sampling_node.STAGES`."""
    pool: SamplerPool
    access: Access
    image: str


class Shared:
    """What is known of a stage that pods have sampled for."""

    def __init__(self, shards: Shards, seconds: float) -> None:
        """`seconds`: until the shards were there."""
        self._shards, self._seconds = shards, seconds

    def describe(self, report: StageReport) -> None:
        """Puts the time of the pods into a report, whose stage only read the responses; inside `shared`."""
        report.seconds += self._seconds
        report.started -= self._seconds
        if "tokens_per_second" in report.values:
            report.values["tokens_per_second"] = report.values["tokens"] / sampling_seconds(report.seconds)
        report.notes.append(f"Sampled by {self._shards.pods} pods; tokens per second are those of all.")

    def clean(self) -> None:
        """Removes the shards, once the stage's outputs are written."""
        store = self._shards.store
        for name in list(store.names(f"{self._shards.name}/")):
            store.remove(name)


@contextmanager
def shared(
    pods: str,
    store_url: str,
    round_id: str,
    arguments: Mapping[str, Any],
    *,
    cluster: Cluster | None = None,
    say: Callable[[str], None] = print,
    poll_seconds: float = train_job.POLL_SECONDS,
) -> Iterator[Shared]:
    """Has a Job draw what a stage samples; inside, the stage's samplers read it.

    Args:
        pods: a `Pods` as JSON.
        arguments: of the stage; those that `sampling_node.STAGES` has a function for, by their names.

    Raises:
        BadConfig: `pods` does not fit its model, or the settings need one pod.
        Corrupt: a shard is not what a pod published; it is removed.
        ClusterRefused: the cluster lacks permission or an answer.
        TrainJobFailed: the job failed or took too long.
    """
    started = time.monotonic()
    try:
        given = Pods.model_validate_json(pods)
    except ValidationError as error:
        raise BadConfig(f"{first_mistake(error, Pods).line('pods')}; compile the profile again") from None
    task, published = _task(given, store_url, f"{FOLDER}/{round_id}/{given.stage}", arguments)
    shards = task.shards()
    if not shards.complete():
        for argument, path in published.items():
            shards.store.publish(path, task.artifact(argument))
        job = sampling_job_spec.build(
            name=job_name(round_id, given.stage),
            namespace=NAMESPACE,
            stage=given.stage,
            task=task.model_dump_json(),
            pods=task.pods,
            image=given.image,
            pool=given.pool,
            secret=given.access.secret,
            config_map=given.access.config_map,
            ca_config_map=given.access.ca_config_map,
        )
        train_job.run(
            cluster or Cluster.connect(),
            job,
            queue_seconds=given.pool.queue_seconds,
            run_seconds=given.pool.run_seconds,
            say=say,
            poll_seconds=poll_seconds,
            shape=train_job.SAMPLING,
        )
    for argument in task.inputs:  # the shards suffice should this step be started again
        shards.store.remove(task.artifact(argument))
    replay = Replay(shards)
    with sampling_from(replay):
        yield Shared(shards, time.monotonic() - started)


def _task(
    pods: Pods, store_url: str, name: str, arguments: Mapping[str, Any]
) -> tuple[Task, dict[str, Path]]:
    """The task, and the paths of its inputs."""
    parameters = signature(find_function(pods.stage)).parameters.values()
    inputs, settings = split_arguments(
        {
            one.name: arguments[one.name]
            for one in parameters
            if one.name not in OUTPUTS and (one.name in arguments or one.default is one.empty)
        }
    )
    values = {name: TypeAdapter(type(value)).dump_json(value).decode() for name, value in settings.items()}
    there = {key: path for key, path in inputs.items() if path.is_file() or filled(path)}
    return Task(
        stage=pods.stage,
        store_url=store_url,
        name=name,
        inputs=tuple(there),
        absent=tuple(key for key in inputs if key not in there),
        values=values,
        shard_responses=pods.pool.shard_responses,
        pods=pods.pool.nodes,
    ), there
