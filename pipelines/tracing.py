"""Defines a pipeline, and traces it again for one profile, locally or for a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any

from kfp import dsl

from mathloop.settings import Settings
from pipelines.placement import Placement, placed


class Nested:
    """A pipeline inside pipelines: one node that expands in KFP's graph.

    KFP traces a function only once and never inside another trace, but placement differs from trace to trace.
    So `trace` traces the nested pipelines first; calling one adds it to the pipeline being traced.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name, self.function = name, function

    def __call__(self, **inputs: Any) -> Any:
        """Adds the nested pipeline as a task."""
        return _traced.get()[self.name](**inputs)

    def component(self) -> Any:
        """The nested pipeline, traced for the current placement."""
        return dsl.pipeline(name=self.name)(self.function)


_traced: ContextVar[Mapping[str, Any]] = ContextVar("traced")
_nested: dict[str, Sequence[Nested]] = {}
"""Name of a pipeline → the pipelines that it nests."""


def nested(name: str) -> Callable[[Callable[..., Any]], Nested]:
    """Turns a function that adds tasks into a pipeline to nest."""
    return lambda function: Nested(name, function)


def pipeline(name: str, nests: Sequence[Nested] = ()) -> Callable[[Callable[..., None]], Any]:
    """`dsl.pipeline` with type hints: turns a function that adds tasks into a KFP pipeline.

    Args:
        nests: nested pipelines that the function calls.
    """

    def decorate(function: Callable[..., None]) -> Any:
        _nested[name] = nests
        return _trace(name, function)

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
        return _trace(traced.name, traced.pipeline_func)


def _trace(name: str, function: Callable[..., None]) -> Any:
    token = _traced.set({one.name: one.component() for one in _nested[name]})
    try:
        return dsl.pipeline(name=name)(function)
    finally:
        _traced.reset(token)
