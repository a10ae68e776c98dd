"""A training step: on one node the stage's own component, on several a TrainJob that a launcher watches."""

from __future__ import annotations

import json
from typing import Any

from kfp import dsl
from kfp.dsl import PipelineTask

from components.train_job import train_job
from pipelines.placement import cluster, place

ROUND_ID = dsl.PIPELINE_JOB_ID_PLACEHOLDER
"""The run's own id: unique on a cluster, also for recurring runs; the local runner puts its run id there."""


def add_training(component: Any, *, store: Any, **inputs: Any) -> PipelineTask:
    """Adds the step `component(**inputs)` to the pipeline that is being defined, and places it.

    With `nodes` above 1 in the trainer's pool the step is `train_job`, in the control pool, for the stage of
    the component's name: it has the same outputs. The pool goes along as JSON, for the TrainJob.
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
    task = train_job(
        stage=name.replace("-", "_"),
        store=store,
        round_id=ROUND_ID,
        pool=pools.trainer.model_dump_json(),
        access=json.dumps(access),
        **inputs,
    ).set_display_name(name)
    # Its store is an input that the cache cannot see, and a job of another run must not be taken for its own.
    task.set_caching_options(False)
    spare = 3600  # for moving inputs and the model
    place("control", task, seconds=pools.trainer.queue_seconds + pools.trainer.run_seconds + spare)
    return task
