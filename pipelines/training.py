"""A step of training or sampling: by itself on one node, by a job's pods on several."""

from __future__ import annotations

import copy
from typing import Any

from kfp import dsl
from kfp.dsl import PipelineTask

from components.images import CONTROL_IMAGE, SAMPLER_IMAGE
from components.train_job import train_job
from mathloop.cluster.sampling_launching import Pods
from mathloop.cluster.train_job_launching import Access
from mathloop.settings.one_pod import needs_one_pod
from mathloop.settings.pools import Pool, PoolsConfig
from pipelines.placement import PoolName, cluster, place, traced_settings

ROUND_ID = dsl.PIPELINE_JOB_ID_PLACEHOLDER
"""The run's id, unique also for recurring runs on a cluster; the local runner inserts its own run id."""
MODEL = f"{dsl.Model.schema_title}@{dsl.Model.schema_version}"
"""KFP's name of the type."""


def model_of(task: PipelineTask) -> Any:
    """The model that a training step outputs, whatever its port is called."""
    return next(output for output in task.outputs.values() if output.channel_type == MODEL)


def add_training(component: Any, *, store: Any, **inputs: Any) -> PipelineTask:
    """Adds the step `component(**inputs)` to the pipeline being defined, and places it.

    If the trainer pool has several nodes, the step is `train_job` for the stage of the component's name: it
    has the same outputs, runs in the control pool, and takes the trainer pool as JSON.
    """
    pools = cluster()
    if pools is None or pools.trainer.nodes == 1:
        task = component(**inputs)
        place("trainer", task)
        return task
    name = component.component_spec.name
    # Named after the stage: KFP would name them train-job, train-job-2 and train-job-3.
    launcher = copy.deepcopy(train_job)
    launcher.component_spec.name = name
    task = launcher(
        stage=name.replace("-", "_"),
        store=store,
        round_id=ROUND_ID,
        pool=pools.trainer.model_dump_json(),
        access=_access(pools).model_dump_json(),
        **inputs,
    )
    _wait_in_control(task, pools.trainer)
    return task


def add_sampling(component: Any, *, store: Any, pool: PoolName = "sampler", **inputs: Any) -> PipelineTask:
    """Adds the step `component(**inputs)`, which samples, to the pipeline, and places it in `pool`.

    If the sampler pool has several nodes, the step runs in the control pool and waits for a job of as many
    pods there, which draw for it. It stays in `pool` if its settings need one pod.
    """
    pools = cluster()
    name = component.component_spec.name.replace("-", "_")
    if pools is None or pools.sampler.nodes == 1 or needs_one_pod(traced_settings(), name):
        if not component.component_spec.inputs["store"].optional:
            inputs["store"] = store
        task = component(**inputs)
        place(pool, task)
        return task
    # The same step, without its GPUs: responses come from the pods.
    launcher = copy.deepcopy(component)
    launcher.component_spec.implementation.container.image = CONTROL_IMAGE
    pods = Pods(stage=name, pool=pools.sampler, access=_access(pools), image=SAMPLER_IMAGE)
    task = launcher(store=store, round_id=ROUND_ID, pods=pods.model_dump_json(), **inputs)
    _wait_in_control(task, pools.sampler)
    return task


def tir_pool() -> PoolName:
    """The pool of the step tir, which trains too if it has several iterations."""
    return "trainer" if traced_settings().tir.iterations > 1 else "sampler"


def _access(pools: PoolsConfig) -> Access:
    return Access(secret=pools.secret, config_map=pools.config_map, ca_config_map=pools.ca_config_map)


def _wait_in_control(task: PipelineTask, pool: Pool) -> None:
    """Places a step that waits for a job in `pool`."""
    # The cache cannot see the store, and a run must not reuse another run's job.
    task.set_caching_options(False)
    spare = 3600  # for transferring inputs and results
    place("control", task, seconds=pool.queue_seconds + pool.run_seconds + spare)
