"""A TrainJob that does not start: its launcher says why, and gives up at once what waiting cannot change."""

from __future__ import annotations

import copy
import json
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from mathloop.cluster import train_job
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import ClusterRefused
from mathloop.cluster.train_job_waiting import PATIENCE_SECONDS
from tests.fake_cluster import FakeCluster, Object
from tests.paths import SHARED_DATA
from tests.unit.cluster.launcher import JOB
from tests.unit.cluster.test_cluster_train_job import condition, start_pod, wait_for

NAME = JOB["metadata"]["name"]
IMAGE = "mathloop/trainer:0.1.0"
UNCOVERED = "couldn't assign flavors to pod set node: resource ephemeral-storage unavailable in ClusterQueue"
BUSY = "couldn't assign flavors to pod set node: insufficient unused quota for cpu in flavor a, 2 more needed"
TOO_MUCH = (
    "insufficient quota for nvidia.com/gpu in flavor mathloop-trainer, previously considered podsets "
    "requests (0) + current podset request (32) > maximum capacity (8)"
)


def ago(seconds: float) -> str:
    return (datetime.now(UTC) - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


class Launch:
    """A launcher in a thread: what it says, and how it ended."""

    def __init__(self, cluster: Cluster) -> None:
        self.lines: list[str] = []
        self.error: Exception | None = None
        self._cluster = cluster
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            train_job.run(
                self._cluster,
                JOB,
                queue_seconds=600,
                run_seconds=600,
                say=self.lines.append,
                poll_seconds=0.02,
            )
        except Exception as error:
            self.error = error

    def said(self, text: str) -> str:
        return next((line for line in self.lines if text in line), "")

    def failure(self) -> str:
        self.thread.join(60)
        assert isinstance(self.error, ClusterRefused), (self.error, self.lines)
        assert "\n" not in str(self.error)
        return str(self.error)


@pytest.fixture
def launch(fake: FakeCluster, cluster: Cluster) -> Iterator[Callable[[], Launch]]:
    begun: list[Launch] = []

    def launch() -> Launch:
        begun.append(Launch(cluster))
        return begun[-1]

    yield launch
    with fake.lock:
        fake.objects.clear()  # ends those that still wait
    for one in begun:
        one.thread.join(60)


def hold_back(fake: FakeCluster, message: str, reason: str = "Pending", *, since: float = 0) -> None:
    """Kueue suspends each TrainJob that is created, and says in its Workload why."""

    def control(plural: str, body: Object) -> None:
        if plural == "trainjobs" and "suspend" not in body["spec"]:
            body["spec"]["suspend"] = True
            body["status"] = condition("Suspended", "Suspended", "TrainJob is suspended")
            told = {"type": "QuotaReserved", "status": "False", "reason": reason, "message": message}
            fake.put("workloads", workload(body, [{**told, "lastTransitionTime": ago(since)}]))

    fake.controllers.append(control)


def workload(job: Object, conditions: list[Object]) -> Object:
    return {
        "metadata": {
            "name": f"trainjob-{NAME}-af327",
            "namespace": "mathloop",
            "labels": {"kueue.x-k8s.io/job-uid": job["metadata"]["uid"]},
        },
        "spec": {"queueName": "mathloop"},
        "status": {"conditions": conditions},
    }


def pod(fake: FakeCluster, index: int, status: Object, *, age: float = 0) -> None:
    labels = {
        "jobset.sigs.k8s.io/jobset-name": NAME,
        "jobset.sigs.k8s.io/replicatedjob-name": "node",
        "batch.kubernetes.io/job-completion-index": str(index),
    }
    metadata = {"name": f"{NAME}-node-0-{index}-x", "namespace": "mathloop", "labels": labels}
    fake.put("pods", {"metadata": {**metadata, "creationTimestamp": ago(age)}, "status": status})


def waiting(reason: str, message: str, *, age: float = 0) -> Object:
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": ago(age)}
    state = {"waiting": {"reason": reason, "message": message}}
    container = {"name": "node", "image": IMAGE, "state": state}
    return {"conditions": [scheduled], "containerStatuses": [container]}


def test_what_kueue_was_seen_to_say_ends_the_wait_at_once(
    fake: FakeCluster, launch: Callable[[], Launch]
) -> None:
    folder = SHARED_DATA / "cluster"
    if not folder.is_dir():
        pytest.skip("no recorded answers beside the checkout")
    seen = json.loads((folder / "workload_not_admitted.json").read_text())

    def control(plural: str, body: Object) -> None:
        if plural == "trainjobs" and "suspend" not in body["spec"]:
            recorded = json.loads((folder / "trainjob_suspended.json").read_text())
            body["spec"]["suspend"] = recorded["spec"]["suspend"]
            body["status"] = recorded["status"]
            fake.put("workloads", {**workload(body, []), "status": copy.deepcopy(seen["status"])})

    fake.controllers.append(control)
    failure = launch().failure()
    assert (
        f"{NAME} cannot start: Kueue: {UNCOVERED}; add ephemeral-storage to the coveredResources" in failure
    )
    assert fake.count("trainjobs") == 0


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            UNCOVERED,
            "add ephemeral-storage to the coveredResources and quotas of the ClusterQueue of mathloop",
        ),
        (
            f"couldn't assign flavors to pod set node: flavor b doesn't match node affinity, {TOO_MUCH}",
            "request less nvidia.com/gpu in pools.trainer, or raise the nominalQuota of flavor "
            "mathloop-trainer",
        ),
        (
            "couldn't assign flavors to pod set node: flavor sampler doesn't match node affinity",
            "correct pools.trainer's node_selector and tolerations, or the ResourceFlavors",
        ),
    ],
)
def test_what_kueue_never_admits_is_given_up(
    fake: FakeCluster, launch: Callable[[], Launch], message: str, said: str
) -> None:
    hold_back(fake, message)
    failure = launch().failure()
    assert failure.endswith(said)
    assert f"Kueue: {message}" in failure
    assert fake.count("trainjobs") == 0


def test_quota_that_others_use_is_waited_for_with_kueues_reason(
    fake: FakeCluster, launch: Callable[[], Launch]
) -> None:
    hold_back(fake, f"{BUSY}, {TOO_MUCH}", since=3600)
    launched = launch()
    said = wait_for(lambda: launched.said("Kueue:"))
    assert said.startswith(f"TrainJob mathloop/{NAME} waits for its nodes (Kueue: {BUSY}")
    time.sleep(0.2)
    assert len([line for line in launched.lines if "Kueue:" in line]) == 1
    # Kueue admits it.
    with fake.lock:
        job = next(body for key, body in fake.objects.items() if key[0] == "trainjobs")
        job["spec"]["suspend"] = False
        job["status"] = {}
    start_pod(fake, "step 1").write(close=True)
    wait_for(lambda: launched.said(f"{NAME} runs"))
    fake.status("trainjobs", NAME, condition("Complete"))
    launched.thread.join(60)
    assert launched.error is None, launched.lines


def test_a_queue_that_is_missing_may_still_be_made(fake: FakeCluster, launch: Callable[[], Launch]) -> None:
    hold_back(fake, "LocalQueue mathloop doesn't exist", "Inadmissible")
    launched = launch()
    wait_for(lambda: launched.said("LocalQueue mathloop doesn't exist"))
    assert launched.thread.is_alive()
    with fake.lock:
        body = next(body for key, body in fake.objects.items() if key[0] == "workloads")
        body["status"]["conditions"][0]["lastTransitionTime"] = ago(PATIENCE_SECONDS + 1)
    assert "add the component kueue: kubectl apply" in launched.failure()


def test_without_the_right_to_look_it_waits_all_the_same(
    fake: FakeCluster, launch: Callable[[], Launch]
) -> None:
    fake.denied.add(("list", "workloads"))
    hold_back(fake, UNCOVERED)
    launched = launch()
    wait_for(
        lambda: launched.said("the reason cannot be read: no permission to list workloads.kueue.x-k8s.io")
    )
    assert launched.thread.is_alive()


def test_the_schedulers_reason_is_shown(fake: FakeCluster, launch: Callable[[], Launch]) -> None:
    message = "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available."
    told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    pod(fake, 0, {"conditions": [{**told, "lastTransitionTime": ago(3600)}]}, age=3600)
    launched = launch()
    wait_for(lambda: launched.said("(Unschedulable: 0/1 nodes are available: 1 Insufficient cpu."))
    assert launched.thread.is_alive()


NO_SUCH = (
    f'failed to pull and unpack image "docker.io/{IMAGE}": failed to resolve reference: {IMAGE}: not found'
)
NO_NETWORK = f'failed to pull image "{IMAGE}": dial tcp: lookup registry on 10.96.0.10:53: server misbehaving'


@pytest.mark.parametrize(
    ("reason", "message", "said"),
    [
        ("ErrImagePull", NO_SUCH, f"build and push {IMAGE}, or name your registry in the overlay's images"),
        (
            "ImagePullBackOff",
            f'Back-off pulling image "x": ErrImagePull: {NO_SUCH}',
            f"build and push {IMAGE}",
        ),
        ("CreateContainerConfigError", 'secret "mathloop-s3" not found', "create this Secret"),
        (
            "CreateContainerConfigError",
            "couldn't find key accesskey in Secret mathloop/mathloop-s3",
            "create this Secret",
        ),
        ("CreateContainerConfigError", 'configmap "mathloop-store" not found', "apply it: kubectl apply"),
    ],
)
def test_what_a_pod_lacks_is_waited_for_and_then_given_up(
    fake: FakeCluster, launch: Callable[[], Launch], reason: str, message: str, said: str
) -> None:
    pod(fake, 0, waiting(reason, message))
    launched = launch()
    assert wait_for(lambda: launched.said(message)).endswith(f"waits for its nodes ({reason}: {message})")
    assert launched.thread.is_alive()
    pod(fake, 0, waiting(reason, message, age=PATIENCE_SECONDS + 1), age=PATIENCE_SECONDS + 1)
    assert f"cannot start: {reason}: {message}; {said}" in launched.failure()
    assert fake.count("trainjobs") == 0


def test_an_image_name_that_is_none_is_given_up_at_once(
    fake: FakeCluster, launch: Callable[[], Launch]
) -> None:
    pod(fake, 0, waiting("InvalidImageName", "couldn't parse image name: invalid reference format"))
    assert f"correct the name of the image {IMAGE}" in launch().failure()


def test_a_registry_that_does_not_answer_is_waited_for(
    fake: FakeCluster, launch: Callable[[], Launch]
) -> None:
    pod(fake, 0, waiting("ErrImagePull", NO_NETWORK, age=3600), age=3600)
    launched = launch()
    wait_for(lambda: launched.said("server misbehaving"))
    assert launched.thread.is_alive()


def test_a_second_node_that_cannot_start_is_seen_beside_the_first(
    fake: FakeCluster, launch: Callable[[], Launch]
) -> None:
    start_pod(fake, "waiting for 2 nodes")
    pod(fake, 1, waiting("ErrImagePull", NO_SUCH, age=PATIENCE_SECONDS + 1), age=PATIENCE_SECONDS + 1)
    assert f"build and push {IMAGE}" in launch().failure()


@pytest.mark.parametrize(
    ("kind", "name", "reason", "message", "said"),
    [
        (
            "Pod",
            f"{NAME}-node-0-0-x",
            "FailedMount",
            'MountVolume.SetUp failed for volume "store-ca" : configmap "store-ca" not found',
            "apply it: ",
        ),
        (
            "Job",
            f"{NAME}-node-0",
            "FailedCreate",
            'pods "x" is forbidden: error looking up service account mathloop/mathloop-trainer: '
            'serviceaccount "mathloop-trainer" not found',
            "apply it: ",
        ),
        (
            "Job",
            f"{NAME}-node-0",
            "FailedCreate",
            'Error creating: pods "x" is forbidden: violates PodSecurity "restricted:latest"',
            "apply this version's manifests",
        ),
        ("Job", f"{NAME}-node-0", "FailedCreate", 'pods "x" is forbidden: exceeded quota: mathloop', ""),
    ],
)
def test_warnings_about_the_job_are_shown(
    fake: FakeCluster,
    launch: Callable[[], Launch],
    kind: str,
    name: str,
    reason: str,
    message: str,
    said: str,
) -> None:
    launched = launch()
    job = wait_for(lambda: fake.find("trainjobs"))
    with fake.lock:
        live = next(body for key, body in fake.objects.items() if key[0] == "trainjobs")
        live["metadata"]["creationTimestamp"] = ago(400)
    event = {
        "metadata": {"name": "e", "namespace": "mathloop"},
        "involvedObject": {"kind": kind, "name": name},
        "type": "Warning",
        "reason": reason,
        "message": message,
        "firstTimestamp": ago(PATIENCE_SECONDS + 10),
        "lastTimestamp": ago(1),
    }
    others = {"kind": "Pod", "name": "mathloop-other-node-0-0-x"}
    fake.put("events", {**copy.deepcopy(event), "metadata": {"name": "o"}, "involvedObject": others})
    fake.put("events", event)
    if said:
        assert f"cannot start: {reason}: {message}; {said}" in launched.failure()
    else:
        wait_for(lambda: launched.said(f"({reason}: {message})"))
        assert fake.find("trainjobs")["metadata"]["uid"] == job["metadata"]["uid"]


def test_an_evicted_node_is_told_apart(fake: FakeCluster, launch: Callable[[], Launch]) -> None:
    message = "The node was low on resource: ephemeral-storage. "
    pod(fake, 0, {"phase": "Failed", "reason": "Evicted", "message": message})
    launched = launch()
    wait_for(lambda: fake.find("trainjobs"))
    fake.status("trainjobs", NAME, condition("Failed", "JobSetFailed", "jobset failed due to one job"))
    launched.thread.join(60)
    assert str(launched.error).endswith("node 0: Evicted: The node was low on resource: ephemeral-storage")


def test_a_node_without_memory_says_what_to_change(fake: FakeCluster, launch: Callable[[], Launch]) -> None:
    start_pod(fake, "step 1").write(close=True)
    ended: dict[str, Any] = {"reason": "OOMKilled", "exitCode": 137, "startedAt": ago(5)}
    pod(fake, 1, {"containerStatuses": [{"name": "node", "image": IMAGE, "state": {"terminated": ended}}]})
    launched = launch()
    wait_for(lambda: fake.find("trainjobs"))
    fake.status("trainjobs", NAME, condition("Failed", "JobSetFailed", "jobset failed due to one job"))
    launched.thread.join(60)
    assert "node 1: OOMKilled, exit code 137; raise pools.trainer.memory_limit" in str(launched.error)
