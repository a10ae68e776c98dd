"""Defines a pipeline, and traces it again for one profile, locally or for a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kfp import dsl

from mathloop.settings import Settings
from pipelines.placement import Placement, placed


def pipeline(name: str) -> Callable[[Callable[..., None]], Any]:
    """`dsl.pipeline` with type hints: turns a function that adds tasks into a KFP pipeline."""

    def decorate(function: Callable[..., None]) -> Any:
        return dsl.pipeline(name=name)(function)

    return decorate


def trace(traced: Any, settings: Settings | None, *, cluster: bool, code_version: str = "") -> Any:
    """The pipeline traced again, with a profile's settings as a constant of its first stage.

    Args:
        settings: None: the stages' defaults.
        cluster: whether to place tasks on node pools; else the pipeline is for a local run.
        code_version: part of KFP's cache key; empty: not part of it.
    """
    pools = (settings or Settings()).pools if cluster else None
    profile = "" if settings is None else settings.model_dump_json()
    with placed(Placement(pools, code_version, profile)):
        return dsl.pipeline(name=traced.name)(traced.pipeline_func)
