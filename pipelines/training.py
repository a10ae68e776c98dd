"""A training step: on one node the recipe's own component, on several a TrainJob that a launcher watches."""

from __future__ import annotations

import json
from typing import Any

from kfp import dsl
from kfp.dsl import PipelineTask

from components.launch_training import launch_training
from pipelines.placement import cluster, place

ROUND_ID = dsl.PIPELINE_JOB_ID_PLACEHOLDER
"""The run's own id: unique on a cluster, also for recurring runs; the local runner puts its run id there."""


def add_training(
    component: Any, *, store_url: Any, nodes: Any, tolerations: Any, **inputs: Any
) -> PipelineTask:
    """Adds the step `component(**inputs)` to the pipeline that is being defined, and places it.

    With `nodes` above 1 in the trainer's pool the step is `launch_training`, in the control pool, for the
    recipe of the component's name: it has the same outputs. The pool goes along as JSON, for the TrainJob.
    Nodes and tolerations chosen in the UI are the TrainJob's as well.
    """
    pools = cluster()
    if pools is None or pools.trainer.nodes == 1:
        task = component(**inputs)
        place("trainer", task, nodes=nodes, tolerations=tolerations)
        return task
    task = launch_training(
        recipe=component.component_spec.name.removeprefix("train-").replace("-", "_"),
        store_url=store_url,
        round_id=ROUND_ID,
        pool=pools.trainer.model_dump_json(),
        access=json.dumps(
            {
                "secret": pools.secret,
                "config_map": pools.config_map,
                "ca_config_map": pools.ca_config_map,
            }
        ),
        nodes=nodes,
        tolerations=tolerations,
        **inputs,
    ).set_display_name(component.component_spec.name)
    # Its store is an input that the cache cannot see, and a job of another run must not be taken for its own.
    task.set_caching_options(False)
    spare = 3600  # for moving inputs and the model
    place("control", task, seconds=pools.trainer.queue_seconds + pools.trainer.run_seconds + spare)
    return task
