"""A run's stages and their pods, read from its Argo Workflow.

KFP 2.17's v2beta1 API lists every node of the workflow as a task, without pod and parent, and nothing new
once Argo compresses the nodes of a large workflow. The Workflow itself, which v1beta1 still returns, has all.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pipelines.cluster.connection import Absent, Pipelines

ATTEMPT = re.compile(r"\(\d+\)$")
EXECUTOR, DRIVER, ROOT = "executor", "-driver", "root"
"""KFP's names of nodes: what runs a task's container, what prepares it (the end), the outermost DAG."""
STATES = {
    "Pending": "PENDING",
    "Running": "RUNNING",
    "Succeeded": "SUCCEEDED",
    "Skipped": "CACHED",
    "Failed": "FAILED",
    "Error": "FAILED",
}
STARTING = ("PodInitializing", "ContainerCreating")
"""Messages of pods that start as they should."""

Node = Mapping[str, Any]


@dataclass(frozen=True)
class Stage:
    """A task of the pipeline that has begun, in its latest attempt."""

    name: str
    groups: tuple[str, ...]
    """Nested pipelines that it is in, the outermost first."""
    state: str
    """PENDING, RUNNING, SUCCEEDED, CACHED or FAILED."""
    message: str
    """The pod's state in Argo's words, or empty."""
    pod: str | None
    """Its pod, if it has one."""
    started: datetime | None
    finished: datetime | None

    @property
    def path(self) -> str:
        """Its name below those of its nested pipelines: `learning/sft`."""
        return "/".join((*self.groups, self.name))

    @property
    def seconds(self) -> float:
        """From its first attempt's start to its end, or to now."""
        return ((self.finished or _now()) - (self.started or _now())).total_seconds()


def read_stages(pipelines: Pipelines, run: Any) -> list[Stage]:
    """The run's stages that have begun, in the order in which they did."""
    try:
        answer = json.loads(pipelines.fetch(f"/apis/v1beta1/runs/{run.run_id}", "read a run's workflow"))
    except Absent:
        answer = {}
    manifest = (answer.get("pipeline_runtime") or {}).get("workflow_manifest")
    if manifest:
        return stages_of(json.loads(manifest))
    return stages_of_tasks((run.run_details and run.run_details.task_details) or [])


def stages_of(workflow: Mapping[str, Any]) -> list[Stage]:
    """The stages of an Argo Workflow that have begun, by their start."""
    nodes = _nodes(workflow)
    latest: dict[str, tuple[bool, Stage]] = {}
    for executed, stage in sorted(_attempts(workflow, nodes), key=lambda pair: _begin(pair[1])):
        if executed or not latest.get(stage.path, (False,))[0]:
            latest[stage.path] = (executed, stage)
    return sorted((stage for _, stage in latest.values()), key=_begin)


def stages_of_tasks(tasks: Sequence[Any]) -> list[Stage]:
    """The same from v2beta1's task details: nested pipelines are among them, and no pod is known."""
    names = {task.display_name for task in tasks}
    stages = [
        Stage(task.display_name, (), str(task.state), "", None, task.start_time, _ended(task))
        for task in tasks
        if task.state and f"{task.display_name}{DRIVER}" in names and task.display_name != ROOT
    ]
    return sorted(stages, key=_begin)


def _nodes(workflow: Mapping[str, Any]) -> dict[str, Node]:
    status = workflow.get("status") or {}
    if compressed := status.get("compressedNodes"):
        return dict(json.loads(gzip.decompress(base64.b64decode(compressed))))
    return dict(status.get("nodes") or {})


def _attempts(workflow: Mapping[str, Any], nodes: Mapping[str, Node]) -> Iterator[tuple[bool, Stage]]:
    """Yields every attempt of every stage, and whether it has an executor yet."""
    executors: dict[str, list[Node]] = {}
    for node in nodes.values():
        name = _name(node)
        if name == EXECUTOR and node.get("boundaryID") in nodes:
            executors.setdefault(node["boundaryID"], []).append(node)
        elif name.endswith(DRIVER) and name != ROOT + DRIVER and _is_stuck(node):
            # All that there is to see of its stage.
            stage = name.removesuffix(DRIVER)
            yield False, _stage(workflow, nodes, stage, node.get("boundaryID"), [node])
    for boundary, attempts in executors.items():
        task = nodes[boundary]
        yield True, _stage(workflow, nodes, _name(task), task.get("boundaryID"), attempts)


def _stage(
    workflow: Mapping[str, Any],
    nodes: Mapping[str, Node],
    name: str,
    boundary: str | None,
    attempts: Sequence[Node],
) -> Stage:
    pods = sorted((node for node in attempts if node.get("type") == "Pod"), key=_start)
    # The node above the attempts knows whether another one follows.
    above = next((node for node in attempts if node.get("type") == "Retry"), None)
    last = pods[-1] if pods else attempts[-1]
    state = STATES.get(str((above or last).get("phase")), "PENDING")
    return Stage(
        name=name,
        groups=tuple(_groups(nodes, boundary)),
        state="PENDING" if state == "RUNNING" and last.get("phase") == "Pending" else state,
        message="" if state in ("SUCCEEDED", "CACHED") else _trouble(last),
        pod=_pod_name(workflow, last) if pods else None,
        started=min((_start(node) for node in attempts if node.get("startedAt")), default=None),
        finished=_time((above or last).get("finishedAt")),
    )


def _groups(nodes: Mapping[str, Node], boundary: str | None) -> list[str]:
    names: list[str] = []
    while boundary and boundary in nodes and _name(nodes[boundary]) != ROOT:
        names.insert(0, _name(nodes[boundary]))
        boundary = nodes[boundary].get("boundaryID")
    return names


def _name(node: Node) -> str:
    return ATTEMPT.sub("", str(node.get("displayName")))


def _is_stuck(node: Node) -> bool:
    """Whether this is a pod that failed, or cannot start."""
    failed = node.get("phase") in ("Failed", "Error")
    return node.get("type") == "Pod" and (failed or bool(_trouble(node)))


def _trouble(node: Node) -> str:
    message = " ".join(str(node.get("message") or "").split())
    return "" if message.startswith(STARTING) else message


def _pod_name(workflow: Mapping[str, Any], node: Node) -> str:
    """Argo's pod name (`POD_NAMES=v2`): workflow, template, and the hash at the end of the node's id."""
    metadata = workflow["metadata"]
    identity = str(node["id"])
    if (metadata.get("annotations") or {}).get("workflows.argoproj.io/pod-name-format") == "v1":
        return identity
    return f"{metadata['name']}-{node['templateName']}-{identity.rpartition('-')[2]}"


def _begin(stage: Stage) -> datetime:
    return stage.started or _now()


def _start(node: Node) -> datetime:
    return _time(node.get("startedAt")) or _now()


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _ended(task: Any) -> datetime | None:
    # KFP writes 1970 for a task that has not ended.
    return task.end_time if task.end_time is not None and task.end_time.year > 1970 else None


def _now() -> datetime:
    return datetime.now(UTC)
