"""Tells runs that go on from runs whose workflow was deleted: KFP shows both as RUNNING, for ever.

A recurring run that is deleted without ORPHAN takes the workflows of its runs along, and KFP is not told.
KFP's own answer about such a run differs in nothing from one that goes on, so Kubernetes is asked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mathloop.cluster.kinds import Kind
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import as_refusals
from mathloop.errors import MathloopError
from pipelines.cluster.connection import NAMESPACE, PROXY, Pipelines
from pipelines.cluster.runs import in_progress

WORKFLOW = Kind("Workflow", "workflows", "argoproj.io", "v1alpha1")
RUN_LABEL = "pipeline/runid"
METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
"""Without it each workflow has some 400 KB."""
SECONDS = (5.0, 30.0)
"""Time to connect, and to answer."""


def lost_runs(pipelines: Pipelines, runs: Sequence[Any]) -> set[str] | None:
    """Ids of the runs that KFP shows in progress although they have no workflow.

    Returns None if Kubernetes cannot be asked: no kubeconfig of KFP's cluster, or no permission to list
    workflows.
    """
    open_runs = [run.run_id for run in runs if in_progress(run)]
    if not open_runs:
        return set()
    try:
        cluster = pipelines.cluster or _cluster_with(open_runs[0])
        return {run_id for run_id in open_runs if not _has_workflow(cluster, pipelines.namespace, run_id)}
    except MathloopError:
        return None


def _cluster_with(run_id: str) -> Cluster:
    """The kubeconfig's cluster, if its KFP has this run; with --host it may be another one."""
    cluster = Cluster.connect()
    cluster.request(f"{PROXY}/apis/v2beta1/runs/{run_id}")
    return cluster


def _has_workflow(cluster: Cluster, namespace: str | None, run_id: str) -> bool:
    place = namespace or NAMESPACE
    with as_refusals(cluster.host, "list", WORKFLOW, namespace=place):
        answer, _, _ = cluster.api.call_api(
            f"/apis/{WORKFLOW.group}/{WORKFLOW.version}/namespaces/{place}/{WORKFLOW.plural}",
            "GET",
            query_params=[("labelSelector", f"{RUN_LABEL}={run_id}"), ("limit", "1")],
            header_params={"Accept": METADATA_ONLY},
            response_type="object",
            auth_settings=["BearerToken"],
            _request_timeout=SECONDS,
        )
    return bool(answer["items"])  # null if there are none
