"""What real controllers said of TrainJobs that did not start, played to the code that tells why."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest

from mathloop.cluster import train_job_waiting
from mathloop.cluster.kubernetes import Cluster, seconds_of
from mathloop.cluster.train_job_waiting import PATIENCE_SECONDS
from tests.fake_cluster import FakeCluster
from tests.paths import ROOT

RECORDED: dict[str, Any] = json.loads(
    (ROOT / "tests" / "recorded" / "train_jobs_waiting.json").read_text(encoding="utf-8")
)
IMAGE = "build and push localhost:5055/mathloop/trainer:0.1.0, or name your registry"
APPLY = "apply it: kubectl apply -k"
EXPECTED: dict[str, tuple[str, str, float]] = {
    "image name": ("InvalidImageName: Failed to apply", "correct the name of the image mathloop/Trainer", 0),
    "image not found": ("ErrImagePull: rpc error: code = NotFound", IMAGE, PATIENCE_SECONDS),
    "image not found, later": ("ImagePullBackOff: Back-off pulling image", IMAGE, PATIENCE_SECONDS),
    "registry away": ("ErrImagePull: failed to pull and unpack image", "", math.inf),
    "registry away, later": ("ImagePullBackOff: Back-off pulling image", "", math.inf),
    "secret": ('CreateContainerConfigError: secret "no-such"', "create this Secret", PATIENCE_SECONDS),
    "config map": ('CreateContainerConfigError: configmap "no-such"', APPLY, PATIENCE_SECONDS),
    "mounted config map": ("FailedMount: MountVolume.SetUp failed", APPLY, PATIENCE_SECONDS),
    "account": ("FailedCreate: Error creating: pods", APPLY, PATIENCE_SECONDS),
    "quota of the namespace": (
        "FailedCreate: Error creating: pods",
        "or raise limits.cpu in the namespace",
        0,
    ),
    "selector": ("Unschedulable: 0/1 nodes are available: 1 node(s) didn't match", "", math.inf),
    "kueue: not covered": ("Kueue: couldn't assign flavors", "add ephemeral-storage to the coveredRes", 0),
    "kueue: too much": ("Kueue: couldn't assign flavors", "request less cpu in pools.trainer, or raise", 0),
    "kueue: no flavor": ("Kueue: couldn't assign flavors", "correct pools.trainer's node_selector", 0),
    "kueue: in use": ("Kueue: couldn't assign flavors", "", math.inf),
    "kueue: inactive": ("Kueue: ClusterQueue mathloop-rec is inactive", "", math.inf),
    "kueue: no queue": (
        "Kueue: LocalQueue mathloop-rec doesn't exist",
        "add the component kueue",
        PATIENCE_SECONDS,
    ),
}
"""Case → beginning of the reason, beginning of the remedy, and how long it is waited for."""


def test_every_recorded_case_is_told() -> None:
    assert set(RECORDED) == set(EXPECTED)


@pytest.mark.parametrize("case", EXPECTED)
def test_a_recorded_reason_is_told(
    fake: FakeCluster, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    recorded = RECORDED[case]
    job, pods = recorded["trainjob"], recorded["pods"]
    for kind in ("events", "workloads"):
        for body in recorded[kind]:
            fake.put(kind, body)
    begun = seconds_of(job["metadata"]["creationTimestamp"])
    monkeypatch.setattr(train_job_waiting.time, "time", lambda: begun + 60)
    obstacle = train_job_waiting.find(cluster, job, pods)
    assert obstacle is not None
    text, remedy, patience = EXPECTED[case]
    assert obstacle.text.startswith(text)
    assert obstacle.remedy.startswith(remedy) or remedy in obstacle.remedy
    assert bool(obstacle.remedy) == math.isfinite(patience)
    assert obstacle.patience == patience
    assert obstacle.is_final(begun + PATIENCE_SECONDS + 60) == math.isfinite(patience)
    assert obstacle.is_final(begun + 60) == (patience == 0)
