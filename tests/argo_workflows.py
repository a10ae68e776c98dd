"""Argo Workflows as KFP 2.17 makes them of a pipeline: the nodes of their status.

A task X is `X-driver`, then X, a DAG with the node `executor`; a nested pipeline Y is `Y-driver`, then Y, a
DAG of its tasks. Each is a Retry node above its attempts, `X(0)`. Types and names are those of a recording
(../shared/data/cluster/workflow_failed_not_retried.json); ids and boundaries, which it lacks, are Argo's.
"""

from __future__ import annotations

import base64
import gzip
import json
from dataclasses import dataclass, field
from typing import Any

Node = dict[str, Any]


@dataclass
class ArgoWorkflow:
    """A workflow that grows as a run does."""

    name: str = "round-x7k2p"
    phase: str = "Running"
    nodes: dict[str, Node] = field(default_factory=dict)
    _seconds: int = 0

    def __post_init__(self) -> None:
        self.root = self._dag("root", self._dag(self.name, None))
        self._retried("root-driver", "system-dag-driver", self.nodes[self.root]["boundaryID"], "Succeeded")

    def group(self, name: str, within: str | None = None) -> str:
        """Begins a nested pipeline; returns what `within` takes."""
        boundary = within or self.root
        self._retried(f"{name}-driver", "system-dag-driver", boundary, "Succeeded")
        return self._dag(name, boundary)

    def driver(self, name: str, phase: str, message: str = "", within: str | None = None) -> None:
        """A stage whose driver has not prepared it."""
        self._retried(f"{name}-driver", "system-container-driver", within or self.root, phase, message)

    def stage(
        self, name: str, *phases: str, message: str = "", within: str | None = None, above: str | None = None
    ) -> list[str]:
        """A stage with an attempt per phase; returns its pods.

        Args:
            message: of the last attempt.
            above: phase of the node above the attempts; that of the last one by default.
        """
        boundary = within or self.root
        self._retried(f"{name}-driver", "system-container-driver", boundary, "Succeeded")
        dag = self._dag(name, boundary)
        return self._retried(
            "executor", "retry-system-container-impl", dag, phases[0], message, phases, above
        )

    def skip(self, name: str, within: str | None = None) -> None:
        """A stage whose outputs KFP takes from an earlier run."""
        self._retried(f"{name}-driver", "system-container-driver", within or self.root, "Succeeded")
        dag = self._dag(name, within or self.root)
        self._node("executor", "Skipped", "Skipped", dag, message="when 'true != true' evaluated false")

    def omit(self, name: str, within: str | None = None) -> None:
        """A stage that never begins, since one before it failed."""
        for display in (f"{name}-driver", name):
            self._node(
                display,
                "Skipped",
                "Omitted",
                within or self.root,
                message="omitted: depends condition not met",
            )

    def end(self, phase: str) -> None:
        """The stages that run end."""
        for node in self.nodes.values():
            if node["displayName"].startswith("executor") and node["phase"] == "Running":
                node |= {"phase": phase, "finishedAt": _stamp(self._seconds)}

    def manifest(self, *, compressed: bool = False) -> dict[str, Any]:
        """The workflow as KFP stores it; Argo compresses the nodes of large ones."""
        status: dict[str, Any] = {"phase": self.phase}
        if compressed:
            packed = gzip.compress(json.dumps(self.nodes).encode())
            status["compressedNodes"] = base64.b64encode(packed).decode()
        else:
            status["nodes"] = self.nodes
        return {"kind": "Workflow", "metadata": {"name": self.name}, "status": status}

    def _dag(self, name: str, boundary: str | None) -> str:
        self._node(name, "Retry", "Running", boundary)
        return str(self._node(f"{name}(0)", "DAG", "Running", boundary)["id"])

    def _retried(
        self,
        name: str,
        template: str,
        boundary: str,
        phase: str,
        message: str = "",
        phases: tuple[str, ...] = (),
        above: str | None = None,
    ) -> list[str]:
        phases = phases or (phase,)
        node_above = self._node(name, "Retry", above or phases[-1], boundary)
        pods = []
        for number, one in enumerate(phases):
            said = message if number == len(phases) - 1 else ""
            node = self._node(f"{name}({number})", "Pod", one, boundary, template, said)
            if node_above["finishedAt"]:
                node_above["finishedAt"] = node["finishedAt"]
            pods.append(f"{self.name}-{template}-{node['id'].rpartition('-')[2]}")
        return pods

    def _node(
        self,
        display: str,
        kind: str,
        phase: str,
        boundary: str | None,
        template: str = "",
        message: str = "",
    ) -> Node:
        identity = f"{self.name}-{1000 + len(self.nodes)}"
        begun, self._seconds = self._seconds, self._seconds + 10
        ended = phase not in ("Running", "Pending")
        node = {
            "id": identity,
            "displayName": display,
            "type": kind,
            "phase": phase,
            "templateName": template,
            "boundaryID": boundary,
            "message": message or None,
            "startedAt": _stamp(begun),
            "finishedAt": _stamp(begun + 5) if ended else None,
        }
        self.nodes[identity] = node
        return node


def _stamp(seconds: int) -> str:
    return f"2026-12-01T{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}Z"
