"""The manifests against a real API server, and what `doctor` says of the cluster."""

from __future__ import annotations

import json

import pytest

from tests.cluster.real_cluster import CPU, RealCluster
from tests.manifests import kustomized
from tests.manifests.kustomized import MANIFESTS

FIXED = {"StatefulSet": "statefulsets.apps", "Job": "jobs.batch"}
"""Kinds of which an overlay cannot change another overlay's object (docs/cluster.md)."""


@pytest.mark.parametrize("overlay", ["kind", "gpu", "airgapped"])
def test_the_api_server_accepts_every_object(cluster: RealCluster, overlay: str) -> None:
    """Schemas, CEL rules, webhooks and quota; nothing is changed.

    Run: lab.
    """
    _accepts(cluster, overlay)


def test_the_prometheus_operator_accepts_the_monitors(cluster: RealCluster) -> None:
    """The overlay `monitoring`, beside the others.

    Run: not at all.
    """
    _accepts(cluster, "monitoring")


def _accepts(cluster: RealCluster, overlay: str) -> None:
    objects = kustomized.objects(kustomized.build(MANIFESTS / "overlays" / overlay))
    foreign = {one["apiVersion"] for one in objects if not cluster.serves(one["apiVersion"], one["kind"])}
    if foreign:
        pytest.skip(f"this cluster has no {', '.join(sorted(foreign))}")
    fixed = {(kind, one["metadata"]["name"]) for kind, names in FIXED.items() for one in cluster.items(names)}
    sent = [one for one in objects if (one["kind"], one["metadata"]["name"]) not in fixed]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": sent})
    said = cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=body)
    assert len(said.splitlines()) == len(sent), said


def test_doctor_finds_everything(cluster: RealCluster, store_url: str) -> None:
    """`mathloop doctor --cluster` with the administrator's kubeconfig and the store's keys.

    Run: lab.
    """
    done = cluster.mathloop("doctor", "--cluster", "--profile=tiny", f"--set=store={store_url}", *CPU)
    assert done.stderr == ""
    missing = [line for line in done.stdout.splitlines() if not line.startswith("ok  ")]
    if cluster.has_kfp():
        assert (done.returncode, missing) == (0, [])
    else:
        assert len(missing) == 1, missing
        assert missing[0].startswith("MISS kubeflow pipelines: no Kubeflow Pipelines in kubeflow")


def test_doctor_tries_kueues_webhook(cluster: RealCluster) -> None:
    """A TrainJob of a queue is suspended in a dry run; the queue itself does not exist.

    Run: lab.
    """
    if not cluster.has("localqueues.kueue.x-k8s.io"):
        pytest.skip("no Kueue on this cluster")
    done = cluster.mathloop(
        "doctor", "--cluster", "--profile=tiny", "--set=pools.trainer.queue=no-such", *CPU
    )
    assert done.stderr == ""
    (kueue,) = [line for line in done.stdout.splitlines() if line[5:].startswith("kueue: ")]
    assert kueue.startswith("ok  "), kueue
    assert "holds TrainJobs of the queue no-such back" in kueue
    assert "MISS LocalQueue mathloop/no-such: does not exist" in done.stdout
