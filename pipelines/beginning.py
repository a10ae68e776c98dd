"""How every pipeline begins: the run's settings made and checked, each stage's section handed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kfp.dsl import PipelineTask

from components.preflight import preflight
from pipelines.placement import looks_back, place, profile, retried
from pipelines.training import ROUND_ID


def add_preflight(
    *, store: Any, overrides: Any, seed: Any, problems_file: Any = "", first: bool = False
) -> tuple[PipelineTask, Mapping[str, Any]]:
    """Adds preflight to the pipeline that is being defined; returns it with its outputs.

    The outputs are `settings` (all of them), each section by its name, `seed`, and `cache_key`: it stands for
    what KFP's cache cannot see (the store's state, the content of the problems file, our code), so whatever
    else depends on none of the tasks that take it must take it too.
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
    looks_back(task)
    retried(task)
    return task, task.outputs
