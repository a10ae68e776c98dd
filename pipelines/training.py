"""A training step: the stage's own component on one node, a TrainJob on several."""

from __future__ import annotations

import copy
import json
from typing import Any

from kfp import dsl
from kfp.dsl import PipelineTask

from components.train_job import train_job
from pipelines.placement import cluster, place

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
    access = {
        "secret": pools.secret,
        "config_map": pools.config_map,
        "ca_config_map": pools.ca_config_map,
    }
    # Named after the stage: KFP would name them train-job, train-job-2 and train-job-3.
    launcher = copy.deepcopy(train_job)
    launcher.component_spec.name = name
    task = launcher(
        stage=name.replace("-", "_"),
        store=store,
        round_id=ROUND_ID,
        pool=pools.trainer.model_dump_json(),
        access=json.dumps(access),
        **inputs,
    )
    # The cache cannot see the store, and a run must not reuse another run's TrainJob.
    task.set_caching_options(False)
    spare = 3600  # for transferring inputs and the model
    place("control", task, seconds=pools.trainer.queue_seconds + pools.trainer.run_seconds + spare)
    return task
