"""The manifests against a real API server, and what `doctor` says of the cluster."""

from __future__ import annotations

import json

import pytest

from tests.cluster.real_cluster import CPU, RealCluster
from tests.manifests import kustomized
from tests.manifests.kustomized import MANIFESTS

FIXED = {"StatefulSet", "Job"}
"""Kinds of which an overlay cannot change another overlay's object (docs/cluster.md)."""


@pytest.mark.parametrize("overlay", kustomized.OVERLAYS)
def test_the_api_server_accepts_every_object(cluster: RealCluster, overlay: str) -> None:
    """Schemas, CEL rules, webhooks and quota; nothing is changed.

    Run: not at all.
    """
    objects = kustomized.objects(kustomized.build(MANIFESTS / "overlays" / overlay))
    here = [one for one in objects if cluster.serves(one["apiVersion"], one["kind"])]
    foreign = {one["apiVersion"] for one in objects if one not in here}
    if foreign:
        pytest.skip(f"this cluster has no {', '.join(sorted(foreign))}")
    names = {(kind, one["metadata"]["name"]) for kind in FIXED for one in cluster.items(kind.lower() + "s")}
    sent = [one for one in here if (one["kind"], one["metadata"]["name"]) not in names]
    body = json.dumps({"apiVersion": "v1", "kind": "List", "items": sent})
    said = cluster.kubectl("apply", "--dry-run=server", "-f", "-", stdin=body)
    assert len(said.splitlines()) == len(sent), said


def test_doctor_finds_everything(cluster: RealCluster, store_url: str) -> None:
    """`mathloop doctor --cluster` with the administrator's kubeconfig and the store's keys.

    Run: not at all.
    """
    done = cluster.mathloop("doctor", "--cluster", "--profile=tiny", f"--set=store={store_url}", *CPU)
    assert done.stderr == ""
    missing = [line for line in done.stdout.splitlines() if not line.startswith("ok  ")]
    if cluster.has_kfp():
        assert (done.returncode, missing) == (0, [])
    else:
        assert len(missing) == 1, missing
        assert missing[0].startswith("MISS kubeflow pipelines: no Kubeflow Pipelines in kubeflow")
