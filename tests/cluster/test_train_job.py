"""TrainJobs of two nodes: trained, resumed, cancelled, held back by Kueue, and never able to start."""

from __future__ import annotations

import json
import signal
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mathloop.cluster import train_job, train_job_spec, train_job_waiting
from mathloop.cluster.refusals import ClusterRefused
from mathloop.settings.pools import Pool
from tests.cluster.launching import Launching
from tests.cluster.real_cluster import NAMESPACE, QUEUE, Object, RealCluster, until
from tests.cluster.train_launcher import RECIPE
from tests.manifests import manifest_rules

pytestmark = pytest.mark.timeout(1800)

JOBS = "trainjobs.trainer.kubeflow.org"
LONG = 100_000
"""Steps of a training that is ended before its time."""


class Launcher(Launching):
    """A launcher of a TrainJob."""

    def __init__(self, store_url: str, folder: Path, run_id: str, steps: int, queue: str = "") -> None:
        self.name = train_job_spec.job_name(run_id, RECIPE)
        self.folder = folder / f"{run_id}-{uuid.uuid4().hex[:4]}"
        super().__init__("train_launcher", store_url, run_id, str(self.folder), str(steps), queue)


@pytest.fixture
def launch(store_url: str, tmp_path: Path) -> Iterator[Callable[..., Launcher]]:
    begun: list[Launcher] = []

    def launch(run_id: str, steps: int, queue: str = "") -> Launcher:
        begun.append(Launcher(store_url, tmp_path, run_id, steps, queue))
        return begun[-1]

    yield launch
    for launcher in begun:
        launcher.process.kill()


@pytest.fixture
def run_id() -> str:
    return f"test-{uuid.uuid4().hex[:8]}"


def _pods(cluster: RealCluster, job: str) -> list[Object]:
    return cluster.items("pods", NAMESPACE, f"jobset.sigs.k8s.io/jobset-name={job}")


def _running(cluster: RealCluster, job: str) -> set[str] | None:
    """Names of the job's pods; None until both run."""
    running = {
        pod["metadata"]["name"] for pod in _pods(cluster, job) if pod["status"].get("phase") == "Running"
    }
    return running if len(running) == 2 else None


def _uid(cluster: RealCluster, job: str) -> str | None:
    return next(
        (one["metadata"]["uid"] for one in cluster.items(JOBS) if one["metadata"]["name"] == job), None
    )


def test_two_nodes_train_and_hand_back_a_model(
    cluster: RealCluster, launch: Callable[..., Launcher], run_id: str
) -> None:
    """The model and the report come back through the store; the TrainJob is deleted.

    Run: lab.
    """
    launcher = launch(run_id, 40)
    until("both nodes run", 600, lambda: _running(cluster, launcher.name))
    code, output = launcher.end()
    assert code == 0, output
    assert (launcher.folder / "model" / "model.safetensors").is_file()
    assert _uid(cluster, launcher.name) is None


def test_a_new_launcher_takes_the_job_over(
    cluster: RealCluster, launch: Callable[..., Launcher], run_id: str
) -> None:
    """The first launcher is killed without a chance to clean up, as where its node is lost; same TrainJob.

    Run: lab.
    """
    first = launch(run_id, 100)
    until("both nodes run", 600, lambda: _running(cluster, first.name))
    uid = _uid(cluster, first.name)
    first.process.kill()
    second = launch(run_id, 100)
    second.said(f"resuming TrainJob {NAMESPACE}/{first.name}")
    assert _uid(cluster, first.name) == uid
    code, output = second.end()
    assert code == 0, output
    assert (second.folder / "model" / "model.safetensors").is_file()
    assert _uid(cluster, first.name) is None


def test_a_node_that_is_lost_is_replaced(
    cluster: RealCluster, launch: Callable[..., Launcher], run_id: str
) -> None:
    """A pod is deleted at once: JobSet starts the nodes again, and the training goes to its end.

    Run: lab.
    """
    launcher = launch(run_id, 100)
    before = until("both nodes run", 600, lambda: _running(cluster, launcher.name))
    cluster.kubectl("delete", "pod", sorted(before)[1], "-n", NAMESPACE, "--grace-period=0", "--force")
    code, output = launcher.end()
    assert code == 0, output
    assert (launcher.folder / "model" / "model.safetensors").is_file()


def test_cancelling_removes_job_and_pods(
    cluster: RealCluster, launch: Callable[..., Launcher], run_id: str
) -> None:
    """SIGTERM, with which Kubernetes ends a launcher's pod, as KFP does on cancel.

    Run: lab.
    """
    launcher = launch(run_id, LONG)
    until("both nodes run", 600, lambda: _running(cluster, launcher.name))
    launcher.process.send_signal(signal.SIGTERM)
    code, output = launcher.end()
    assert code == 128 + signal.SIGTERM, output
    until("the TrainJob is gone", 60, lambda: _uid(cluster, launcher.name) is None)
    until("its pods are gone", 180, lambda: not _pods(cluster, launcher.name))


# Kueue.


@pytest.mark.parametrize(
    ("quotas", "kueue", "remedy"),
    [
        (
            {"cpu": "64", "memory": "1Ti"},
            "resource ephemeral-storage unavailable in ClusterQueue",
            "add ephemeral-storage to the coveredResources",
        ),
        (
            {"cpu": "100m", "memory": "1Ti", "ephemeral_storage": "1Ti"},
            "insufficient quota for cpu in flavor mathloop-test",
            "request less cpu in pools.trainer, or raise the nominalQuota of flavor mathloop-test",
        ),
    ],
)
def test_what_kueue_never_admits_ends_the_launcher(
    cluster: RealCluster,
    queue: Callable[..., None],
    launch: Callable[..., Launcher],
    run_id: str,
    quotas: dict[str, str],
    kueue: str,
    remedy: str,
) -> None:
    """A resource that the queue does not cover, a request above its quota: one line with Kueue's reason.

    Run: lab.
    """
    queue(**quotas)
    launcher = launch(run_id, LONG, QUEUE)
    code, output = launcher.end(300)
    assert code == 2, output
    (line,) = [line for line in output.splitlines() if line.startswith("FAILED")]
    assert kueue in line
    assert remedy in line
    assert _uid(cluster, launcher.name) is None


def test_kueue_holds_back_and_admits(
    cluster: RealCluster, queue: Callable[..., None], launch: Callable[..., Launcher], run_id: str
) -> None:
    """A second job waits for the first one's quota, with Kueue's reason in the log, and then trains.

    Run: lab.
    """
    name = f"clustertrainingruntimes.trainer.kubeflow.org/{train_job_spec.RUNTIME}"
    runtime = json.loads(cluster.kubectl("get", name, "-o", "json"))
    (pod,) = manifest_rules.pods([runtime])
    node = manifest_rules.quantity(pod.containers[0]["resources"]["requests"]["cpu"])
    queue(cpu=f"{3000 * node:.0f}m", memory="1Ti", ephemeral_storage="1Ti")  # two nodes, but not four
    first = launch(run_id, LONG, QUEUE)
    until("the first job's nodes run", 600, lambda: _running(cluster, first.name))
    second = launch(f"{run_id}-b", 20, QUEUE)
    said = second.said("insufficient unused quota for cpu in flavor mathloop-test")
    assert "waits for its nodes (Kueue: couldn't assign flavors to pod set node: " in said
    assert not _pods(cluster, second.name)
    first.process.send_signal(signal.SIGTERM)
    code, output = second.end()
    assert code == 0, output
    assert f"TrainJob {NAMESPACE}/{second.name} runs" in output


# What never starts.


class Watcher:
    """A launcher in a thread of a job that is given as an object."""

    def __init__(self, cluster: RealCluster, job: Object) -> None:
        self.lines: list[str] = []
        self.error: Exception | None = None
        self._cluster, self._job = cluster.api, job
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            train_job.run(
                self._cluster,
                self._job,
                queue_seconds=600,
                run_seconds=600,
                say=self.lines.append,
                poll_seconds=1,
            )
        except Exception as error:
            self.error = error

    def end(self, seconds: float) -> Exception | None:
        self._thread.join(seconds)
        assert not self._thread.is_alive(), self.lines
        return self.error


def _job(run_id: str, pool: Pool, **names: str) -> Object:
    named = {"secret": "mathloop-s3", "config_map": "mathloop-store", **names}
    return train_job_spec.build(
        name=train_job_spec.job_name(run_id, RECIPE),
        namespace=NAMESPACE,
        stage=RECIPE,
        task="{}",
        pool=pool,
        **named,
    )


def _no_image_name(job: Object) -> None:
    job["spec"]["trainer"]["image"] = "mathloop/Trainer:0.1.0"


def _no_registry(job: Object) -> None:
    job["spec"]["trainer"]["image"] = "127.0.0.1:1/mathloop/trainer:0.1.0"


def _nowhere(job: Object) -> None:
    _pod(job)["nodeSelector"] = {"mathloop.dev/pool": "nowhere"}


def _no_account(job: Object) -> None:
    _pod(job)["serviceAccountName"] = "no-such"


def _pod(job: Object) -> Object:
    (patch,) = job["spec"]["runtimePatches"]
    (replicated,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod: Object = replicated["template"]["spec"]["template"]["spec"]
    return pod


@pytest.mark.parametrize(
    ("names", "change", "said"),
    [
        ({}, _no_image_name, "correct the name of the image mathloop/Trainer:0.1.0"),
        ({"secret": "no-such"}, None, 'secret "no-such" not found; create this Secret'),
        ({"config_map": "no-such"}, None, 'configmap "no-such" not found; apply it: kubectl apply'),
        ({"ca_config_map": "no-such"}, None, 'configmap "no-such" not found; apply it: kubectl apply'),
        ({}, _no_account, 'serviceaccount "no-such" not found; apply it: kubectl apply'),
    ],
    ids=["image name", "secret", "configmap", "mounted configmap", "account"],
)
def test_what_a_pod_lacks_ends_the_launcher(
    cluster: RealCluster,
    monkeypatch: pytest.MonkeyPatch,
    run_id: str,
    names: dict[str, str],
    change: Callable[[Object], None] | None,
    said: str,
) -> None:
    """The kubelet's or the controller's reason, and what to do, in one line; the TrainJob is deleted.

    Run: lab.
    """
    monkeypatch.setattr(train_job_waiting, "PATIENCE_SECONDS", 10.0)
    job = _job(run_id, Pool(nodes=2), **names)
    if change is not None:
        change(job)
    error = Watcher(cluster, job).end(300)
    assert isinstance(error, ClusterRefused), error
    assert said in str(error)
    assert "\n" not in str(error)
    until("the TrainJob is gone", 60, lambda: _uid(cluster, job["metadata"]["name"]) is None)


def test_a_request_above_the_namespaces_quota_ends_the_launcher(cluster: RealCluster, run_id: str) -> None:
    """A ResourceQuota that would be too small even if nothing else used it.

    Run: lab.
    """
    error = Watcher(cluster, _job(run_id, Pool(nodes=2, cpu="90", cpu_limit="90"))).end(120)
    assert isinstance(error, ClusterRefused), error
    assert "FailedCreate: " in str(error)
    assert "request less in pools.trainer, or raise limits.cpu in the namespace's ResourceQuota" in str(error)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_nowhere, "Unschedulable: 0/"),
        (_no_registry, "ErrImagePull: "),
    ],
    ids=["selector", "registry"],
)
def test_what_may_change_is_waited_for(
    cluster: RealCluster, run_id: str, change: Callable[[Object], None], said: str
) -> None:
    """Nodes may still come and a registry answer: the reason is logged, and the launcher waits.

    Run: lab.
    """
    job = _job(run_id, Pool(nodes=2))
    change(job)
    watcher = Watcher(cluster, job)
    until(
        f"it says {said!r}: {watcher.lines}",
        120,
        lambda: next((line for line in watcher.lines if said in line), None),
    )
    assert watcher.error is None
    cluster.kubectl("delete", JOBS, job["metadata"]["name"], "-n", NAMESPACE, "--wait=false")
    error: Any = watcher.end(120)
    assert "was deleted by somebody else" in str(error)
