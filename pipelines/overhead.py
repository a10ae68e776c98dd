"""What Kubeflow Pipelines itself costs a run: counted from the intermediate representation (IR).

Seen with KFP 2.17 and Argo Workflows 4.0.5: a step takes 20 s beside its work (10 s for its driver, 10 s
for its executor) and a nested pipeline 10 s for its driver, since Argo's controller looks at a workflow only
every 10 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

STEP_SECONDS, NESTED_SECONDS = 20, 10


@dataclass(frozen=True)
class Overhead:
    """A pipeline's steps and the overhead on its critical path."""

    steps: int
    """Steps of the pipeline and of the pipelines nested in it."""
    seconds: int
    """Overhead on the critical path."""
    path: tuple[str, ...]
    """Steps and nested pipelines on the critical path, in order."""

    def sentence(self) -> str:
        """One line for a terminal."""
        steps = "1 step" if self.steps == 1 else f"{self.steps} steps"
        return f"{steps}; Kubeflow itself takes about {self.seconds} s of a run"


def overhead(spec: Any) -> Overhead:
    """The overhead of a compiled pipeline, a PipelineSpec."""
    return _of(spec.root.dag.tasks, spec.components)


def _of(tasks: Mapping[str, Any], components: Mapping[str, Any]) -> Overhead:
    @cache
    def alone(name: str) -> Overhead:
        component = components[tasks[name].component_ref.name]
        if component.WhichOneof("implementation") != "dag":
            return Overhead(1, STEP_SECONDS, (name,))
        inside = _of(component.dag.tasks, components)
        return Overhead(inside.steps, NESTED_SECONDS + inside.seconds, (name, *inside.path))

    @cache
    def until(name: str) -> tuple[int, tuple[str, ...]]:
        seconds, path = max(map(until, tasks[name].dependent_tasks), default=(0, ()))
        return seconds + alone(name).seconds, path + alone(name).path

    seconds, path = max(map(until, tasks), default=(0, ()))
    return Overhead(sum(alone(name).steps for name in tasks), seconds, path)
