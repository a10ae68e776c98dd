"""The first step of every pipeline: preflight, which outputs each stage's section of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kfp.dsl import PipelineTask

from components.preflight import preflight
from pipelines.placement import allow_artifact_checks, place, profile
from pipelines.training import ROUND_ID


def add_preflight(
    *, store: Any, overrides: Any, seed: Any, problems_file: Any = "", first: bool = False
) -> tuple[PipelineTask, Mapping[str, Any]]:
    """Adds preflight to the pipeline being defined; returns the task and its outputs.

    The outputs are `settings` (all of them), each section by its name, `seed`, and `cache_key`. The key
    changes with everything that KFP's cache cannot see: the store's state, the content of the problems file,
    our code. A task that depends on no task with the key must take the key itself.
    """
    task = preflight(
        store=store,
        round_id=ROUND_ID,
        profile=profile(),
        overrides=overrides,
        problems_file=problems_file,
        seed=seed,
        first=first,
    ).set_caching_options(False)
    place("control", task)
    allow_artifact_checks(task)
    return task, task.outputs
