"""A step of training or sampling: the stage's own component on one node, a job on several."""

from __future__ import annotations

import copy
import json
from typing import Any

from kfp import dsl
from kfp.dsl import PipelineTask

from components.images import SAMPLER_IMAGE
from components.sampling_job import sampling_job
from components.tir import tir
from components.train_job import train_job
from mathloop.settings.pools import Pool, PoolsConfig
from pipelines.placement import cluster, place, traced_settings

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
    return _launched(train_job, component, pools, pools.trainer, store=store, **inputs)


def add_sampling(component: Any, *, store: Any, **inputs: Any) -> PipelineTask:
    """Adds the step `component(**inputs)` of cot, tir or reward_data to the pipeline, and places it.

    If the sampler pool has several nodes, the step is `sampling_job`, likewise.
    """
    pools = cluster()
    if pools is None or pools.sampler.nodes == 1:
        task = component(**inputs)
        place("sampler", task)
        return task
    return _launched(
        sampling_job, component, pools, pools.sampler, store=store, image=SAMPLER_IMAGE, **inputs
    )


def add_tir(*, store: Any, sft_settings: Any, **inputs: Any) -> PipelineTask:
    """Adds the step tir. With several iterations it trains in between: on one pod of the trainer pool."""
    if traced_settings().tir.iterations > 1:
        task = tir(sft_settings=sft_settings, **inputs)
        place("trainer", task)
        return task
    pools = cluster()
    if pools is None or pools.sampler.nodes == 1:
        inputs["sft_settings"] = sft_settings  # an override may still ask for iterations
    return add_sampling(tir, store=store, **inputs)


def _launched(job: Any, component: Any, pools: PoolsConfig, pool: Pool, **inputs: Any) -> PipelineTask:
    """The step `job`, which waits in the control pool for a job of `component`'s stage in `pool`."""
    name = component.component_spec.name
    access = {
        "secret": pools.secret,
        "config_map": pools.config_map,
        "ca_config_map": pools.ca_config_map,
    }
    # Named after the stage: KFP would name them train-job, train-job-2 and train-job-3.
    launcher = copy.deepcopy(job)
    launcher.component_spec.name = name
    task = launcher(
        stage=name.replace("-", "_"),
        round_id=ROUND_ID,
        pool=pool.model_dump_json(),
        access=json.dumps(access),
        **inputs,
    )
    # The cache cannot see the store, and a run must not reuse another run's job.
    task.set_caching_options(False)
    spare = 3600  # for transferring inputs and results
    place("control", task, seconds=pool.queue_seconds + pool.run_seconds + spare)
    return task
