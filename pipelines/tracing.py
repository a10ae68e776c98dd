"""Defines a pipeline, and traces it again for one profile: here, or on a cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kfp import dsl

from mathloop.settings import Settings
from pipelines.placement import Placement, placed


def pipeline(name: str) -> Callable[[Callable[..., None]], Any]:
    """`dsl.pipeline` with a type: makes a KFP pipeline of a function that adds tasks."""

    def decorate(function: Callable[..., None]) -> Any:
        return dsl.pipeline(name=name)(function)

    return decorate


def trace(traced: Any, settings: Settings | None, *, cluster: bool, code_version: str = "") -> Any:
    """The pipeline once more, with a profile's settings as a constant of its first stage.

    Args:
        settings: None: every stage's own defaults.
        cluster: whether tasks also get their node pools, or run on this machine.
        code_version: part of what KFP's cache tells apart; empty leaves it out.
    """
    pools = (settings or Settings()).pools if cluster else None
    profile = "" if settings is None else settings.model_dump_json()
    with placed(Placement(pools, code_version, profile)):
        return dsl.pipeline(name=traced.name)(traced.pipeline_func)
