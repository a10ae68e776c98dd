"""TrainJobs: what is created, and a launcher that is killed, stopped, refused, or waits too long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mathloop.cluster import train_job, train_job_spec
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.refusals import ClusterRefused, Exists, Unreachable
from mathloop.cluster.train_job_spec import job_name
from mathloop.retrying import PATIENCE_VARIABLE
from mathloop.settings.pools import Affinity, Pool, Toleration
from tests import crd_schemas
from tests.fake_cluster import FakeCluster, PodLog, now
from tests.paths import ROOT
from tests.unit.cluster.launcher import JOB

NAME = JOB["metadata"]["name"]
POD = f"{NAME}-node-0-0-abcde"


class Launcher:
    """A launcher process."""

    def __init__(self, queue_seconds: float = 60, run_seconds: float = 60) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.unit.cluster.launcher", str(queue_seconds), str(run_seconds)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    def end(self) -> tuple[int, str]:
        output, _ = self.process.communicate(timeout=120)
        return self.process.returncode, output


@pytest.fixture
def launch() -> Iterator[Callable[..., Launcher]]:
    begun: list[Launcher] = []

    def launch(*deadlines: float) -> Launcher:
        begun.append(Launcher(*deadlines))
        return begun[-1]

    yield launch
    for launcher in begun:
        launcher.process.kill()
        launcher.process.communicate()


def wait_for(what: Callable[[], Any], seconds: float = 60) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return found


def start_pod(fake: FakeCluster, *lines: str) -> PodLog:
    """Trainer, JobSet and the kubelet have started node 0."""
    labels = {
        "jobset.sigs.k8s.io/jobset-name": NAME,
        "jobset.sigs.k8s.io/replicatedjob-name": "node",
        "batch.kubernetes.io/job-completion-index": "0",
    }
    state = {"name": "node", "state": {"running": {"startedAt": now()}}}
    fake.put(
        "pods",
        {
            "metadata": {"name": POD, "namespace": "mathloop", "labels": labels},
            "spec": {"nodeName": "gpu-1"},
            "status": {"phase": "Running", "containerStatuses": [state]},
        },
    )
    fake.logs[POD] = PodLog()
    fake.logs[POD].write(*lines)
    return fake.logs[POD]


def condition(kind: str, reason: str = "", message: str = "") -> dict[str, Any]:
    told = {"type": kind, "status": "True", "reason": reason or kind, "message": message}
    return {"conditions": [{**told, "lastTransitionTime": now()}]}


def test_the_job_is_what_trainer_takes_and_holds_no_secret() -> None:
    pool = Pool(
        accelerator="nvidia.com/gpu",
        gpus=4,
        nodes=2,
        cpu="8",
        memory="64Gi",
        shared_memory="16Gi",
        node_selector={"mathloop.dev/pool": "trainer"},
        tolerations=(Toleration(key="nvidia.com/gpu"), Toleration(key="more")),
        affinity=(Affinity(key="zone", values=("a",)), Affinity(key="fast", operator="Exists", weight=10)),
        queue="mathloop",
        priority="nightly",
        queue_seconds=100,
        run_seconds=1000,
    )
    job = train_job_spec.build(
        name="mathloop-sft-0", namespace="mathloop", stage="reward_model", task='{"seed": 7}', pool=pool,
        secret="mathloop-s3", config_map="mathloop-store", ca_config_map="store-ca",
    )  # fmt: skip
    assert crd_schemas.problems(job) == []
    trainer = job["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 4)
    # A request without a limit would be above the one that the namespace's LimitRange gives.
    assert trainer["resourcesPerNode"]["limits"] == {"nvidia.com/gpu": 4, "cpu": "8", "memory": "64Gi"}
    env = {one["name"]: one for one in trainer["env"]}
    assert env["MATHLOOP_TRAINING_TASK"]["value"] == '{"seed": 7}'
    for name in ("MATHLOOP_S3_ACCESS_KEY_ID", "MATHLOOP_S3_SECRET_ACCESS_KEY"):
        assert set(env[name]) == {"name", "valueFrom"}
        assert env[name]["valueFrom"]["secretKeyRef"]["name"] == "mathloop-s3"
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "mathloop"
    assert job["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "nightly"
    (patch,) = job["spec"]["runtimePatches"]
    (replicated,) = patch["trainingRuntimeSpec"]["template"]["spec"]["replicatedJobs"]
    pod = replicated["template"]["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"mathloop.dev/pool": "trainer"}
    assert [one["key"] for one in pod["tolerations"]] == ["nvidia.com/gpu", "more"]
    assert pod["volumes"][0]["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Gi"}
    assert pod["volumes"][1]["configMap"] == {"name": "store-ca"}
    mounts = [
        {"name": "shared-memory", "mountPath": "/dev/shm"},
        {"name": "store-ca", "mountPath": "/etc/store-ca", "readOnly": True},
    ]
    assert pod["containers"] == [{"name": "node", "volumeMounts": mounts}]
    assert env["MATHLOOP_S3_CA"]["value"] == "/etc/store-ca/ca.crt"
    assert set(pod["affinity"]["nodeAffinity"]) == {
        "requiredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
    }
    # The cluster itself ends a job whose launcher never comes back, and not before the launcher would.
    assert job["spec"]["activeDeadlineSeconds"] == 1100


@pytest.mark.parametrize(("pool", "named"), [(Pool(nodes=2), False), (Pool(nodes=2, memory="2Gi"), True)])
def test_a_pool_that_names_no_resources_keeps_those_of_the_runtime(pool: Pool, named: bool) -> None:
    job = train_job_spec.build(
        name="mathloop-sft-0", namespace="mathloop", stage="sft", task="{}", pool=pool, secret="",
        config_map="mathloop-store",
    )  # fmt: skip
    assert ("resourcesPerNode" in job["spec"]["trainer"]) == named


def test_a_job_with_an_identity_of_its_own_gets_no_keys() -> None:
    job = train_job_spec.build(
        name="mathloop-sft-0", namespace="mathloop", stage="sft", task="{}", pool=Pool(nodes=2),
        secret="", config_map="mathloop-store",
    )  # fmt: skip
    assert "secretKeyRef" not in str(job)
    assert crd_schemas.problems(job) == []


def test_the_schemas_refuse_what_a_strict_api_server_refuses() -> None:
    broken = json.loads(json.dumps(JOB))
    broken["spec"]["trainer"]["nodes"] = 2
    broken["spec"]["trainer"]["numNodes"] = "2"
    del broken["spec"]["runtimeRef"]["name"]
    told = "\n".join(crd_schemas.problems(broken))
    assert "spec.trainer.nodes: unknown field" in told
    assert "spec.trainer.numNodes: expected integer" in told
    assert "spec.runtimeRef.name: missing" in told


def test_the_name_follows_from_run_and_stage_and_fits_its_pods() -> None:
    assert job_name("run-1", "sft") == job_name("run-1", "sft")
    names = {job_name(run, stage) for run in ("run-1", "run-2") for stage in ("sft", "grpo", "reward_model")}
    assert len(names) == 6
    for name in names:
        assert len(f"{name}-node-0-0-abcde") <= 63
        assert name[0].isalpha()


def test_creates_shows_the_log_completes_and_cleans_up(
    fake: FakeCluster, launch: Callable[..., Launcher]
) -> None:
    launcher = launch()
    job = wait_for(lambda: fake.find("trainjobs"))
    assert job["metadata"]["name"] == NAME
    log = start_pod(fake, "step 1 loss 2.0")
    log.write("step 2 loss 1.5")
    time.sleep(0.5)
    log.write("saved", close=True)
    fake.status("trainjobs", NAME, condition("Complete"))
    code, output = launcher.end()
    assert code == 0, output
    shown = [line for line in output.splitlines() if line in ("step 1 loss 2.0", "step 2 loss 1.5", "saved")]
    assert shown == ["step 1 loss 2.0", "step 2 loss 1.5", "saved"]
    assert output.splitlines()[-1] == "COMPLETE"
    assert fake.count("trainjobs") == 0


def test_a_launcher_killed_with_sigkill_and_restarted_goes_on_with_its_job(
    fake: FakeCluster, launch: Callable[..., Launcher]
) -> None:
    first = launch()
    job = wait_for(lambda: fake.find("trainjobs"))
    start_pod(fake, "step 1")
    wait_for(lambda: ("GET", f"/api/v1/namespaces/mathloop/pods/{POD}/log") in fake.requests)
    first.process.kill()
    first.end()
    assert fake.find("trainjobs")["metadata"]["uid"] == job["metadata"]["uid"]
    second = launch()
    wait_for(lambda: fake.requests.count(("GET", f"/api/v1/namespaces/mathloop/pods/{POD}/log")) == 2)
    fake.logs[POD].write("step 2", close=True)
    fake.status("trainjobs", NAME, condition("Complete"))
    code, output = second.end()
    assert code == 0, output
    assert f"resuming TrainJob mathloop/{NAME}" in output
    assert "created" not in output
    assert [line for line in output.splitlines() if line.startswith("step")] == ["step 1", "step 2"]
    created = [path for method, path in fake.requests if method == "POST"]
    assert len(created) == 2  # the second was refused: it is there


def test_a_failure_is_passed_on_with_reason_and_last_lines_and_the_job_stays(
    fake: FakeCluster, launch: Callable[..., Launcher]
) -> None:
    launcher = launch()
    wait_for(lambda: fake.find("trainjobs"))
    start_pod(fake, *(f"line {number}" for number in range(30))).write("CUDA out of memory", close=True)
    ended = {"reason": "OOMKilled", "exitCode": 137, "startedAt": now()}
    fake.status("pods", POD, {"containerStatuses": [{"name": "node", "state": {"terminated": ended}}]})
    fake.status("trainjobs", NAME, condition("Failed", "JobSetFailed", "jobset failed due to one job"))
    code, output = launcher.end()
    assert code == 1
    told = output[output.index("FAILED") :]
    assert "(JobSetFailed: jobset failed due to one job), node 0: OOMKilled, exit code 137" in told
    assert told.rstrip().endswith("CUDA out of memory")
    assert len(told.splitlines()) == 1 + train_job.LAST_LINES
    assert fake.count("trainjobs") == 1


def test_a_job_that_failed_while_nobody_watched_fails_the_launcher_once_and_then_begins_anew(
    fake: FakeCluster, launch: Callable[..., Launcher]
) -> None:
    first = launch()
    uid = wait_for(lambda: fake.find("trainjobs"))["metadata"]["uid"]
    first.process.kill()
    first.end()
    fake.status("trainjobs", NAME, condition("Failed", "JobSetFailed", "node lost"))
    code, output = launch().end()
    assert code == 1
    assert "node lost" in output
    # KFP tries the step again: that is a new attempt, not the old failure.
    third = launch()
    wait_for(lambda: (fake.find("trainjobs") or {}).get("metadata", {}).get("uid", uid) != uid)
    start_pod(fake).write(close=True)
    fake.status("trainjobs", NAME, condition("Complete"))
    code, output = third.end()
    assert code == 0, output
    assert "failed before: creating it again" in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_cancellation_deletes_the_job(
    fake: FakeCluster, launch: Callable[..., Launcher], number: signal.Signals
) -> None:
    launcher = launch()
    wait_for(lambda: fake.find("trainjobs"))
    start_pod(fake, "step 1")
    wait_for(lambda: any(path.endswith("/log") for _, path in fake.requests))
    launcher.process.send_signal(number)
    code, output = launcher.end()
    assert code != 0
    assert fake.count("trainjobs") == 0, output


@pytest.mark.slow
def test_queue_and_run_deadlines_are_apart(fake: FakeCluster, launch: Callable[..., Launcher]) -> None:
    launcher = launch(1.0, 60.0)
    wait_for(lambda: fake.find("trainjobs"))
    fake.status("trainjobs", NAME, condition("Suspended", "Suspended", "waits for quota"))
    code, output = launcher.end()
    assert code == 1
    assert "waited for more than 1 s: free nodes of its pool, or raise queue_seconds" in output
    assert fake.count("trainjobs") == 0
    # Once it runs, the queue's deadline counts no more, however old the job is, and the other does.
    launcher = launch(30.0, 3.0)
    wait_for(lambda: fake.find("trainjobs"))
    start_pod(fake, "step 1")
    with fake.lock:
        for body in fake.objects.values():
            body["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    code, output = launcher.end()
    assert code == 1
    assert "ran for more than 3 s: raise run_seconds" in output
    assert "step 1" in output[output.index("FAILED") :]
    assert fake.count("trainjobs") == 0


def test_a_restart_does_not_begin_the_queue_again(fake: FakeCluster, launch: Callable[..., Launcher]) -> None:
    old = json.loads(json.dumps(JOB))
    old["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    fake.put("trainjobs", old)
    code, output = launch(3600.0, 3600.0).end()
    assert code == 1
    assert "waited for more than 3600 s" in output


def test_a_job_of_other_settings_is_left_alone(fake: FakeCluster, cluster: Cluster) -> None:
    other = json.loads(json.dumps(JOB))
    other["metadata"]["labels"][train_job_spec.HASH_LABEL] = "other"
    fake.put("trainjobs", other)
    with pytest.raises(ClusterRefused, match=r"with other settings; kubectl delete trainjob") as caught:
        train_job.run(cluster, JOB, queue_seconds=1, run_seconds=1, poll_seconds=0.05)
    assert "\n" not in str(caught.value)
    assert fake.count("trainjobs") == 1


def test_a_job_that_somebody_deletes_is_a_failure(fake: FakeCluster, launch: Callable[..., Launcher]) -> None:
    launcher = launch()
    wait_for(lambda: fake.find("trainjobs"))
    with fake.lock:
        fake.objects.clear()
    code, output = launcher.end()
    assert code == 1
    assert "was deleted by somebody else" in output


def test_an_api_server_that_goes_away_for_a_while_is_waited_for(
    fake: FakeCluster, launch: Callable[..., Launcher], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PATIENCE_VARIABLE, "300")
    launcher = launch()
    wait_for(lambda: fake.find("trainjobs"))
    fake.down = True
    seen = len(fake.requests)
    wait_for(lambda: len(fake.requests) > seen + 2)
    fake.down = False
    start_pod(fake, "step 1").write(close=True)
    fake.status("trainjobs", NAME, condition("Complete"))
    code, output = launcher.end()
    assert code == 0, output
    assert "; its log says more; trying again in 1 s" in output


def test_an_api_server_that_stays_away_is_one_line(
    fake: FakeCluster, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake.down = True
    monkeypatch.setenv(PATIENCE_VARIABLE, "1")
    with pytest.raises(Unreachable, match=r"failed \(HTTP 503\) to create trainjobs"):
        train_job.run(cluster, JOB, queue_seconds=1, run_seconds=1, poll_seconds=0.05)
    assert "trying again in 1 s" in capsys.readouterr().err
    monkeypatch.delenv(PATIENCE_VARIABLE)
    seen = len(fake.requests)
    with pytest.raises(Unreachable):
        cluster.get(train_job.TRAIN_JOB, NAME, "mathloop")
    assert len(fake.requests) == seen + 1, "at a terminal the error comes at once"


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (lambda fake: fake.crds.pop("trainjobs.trainer.kubeflow.org"), "install Kubeflow Trainer v2"),
        (lambda fake: fake.denied.add(("create", "trainjobs")), "no permission to create trainjobs.trainer"),
        (lambda fake: fake.namespaces.discard("mathloop"), "there is no namespace mathloop"),
    ],
)
def test_what_the_cluster_lacks_is_one_line(
    fake: FakeCluster, cluster: Cluster, breaks: Callable[[FakeCluster], Any], said: str
) -> None:
    breaks(fake)
    with pytest.raises(ClusterRefused) as caught:
        train_job.run(cluster, JOB, queue_seconds=1, run_seconds=1, poll_seconds=0.05)
    message = str(caught.value)
    assert said in message
    assert "\n" not in message
    assert "token-that" not in message


def test_no_kubeconfig_and_no_server_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fake: FakeCluster
) -> None:
    fake.close()
    with pytest.raises(
        ClusterRefused, match=r"no Kubernetes API server at http://127.0.0.1:\d+ \(connection"
    ):
        Cluster.connect().create(train_job.TRAIN_JOB, JOB)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))
    with pytest.raises(ClusterRefused, match=r"^no kubeconfig \(\$KUBECONFIG or ~/.kube/config\): get one"):
        Cluster.connect()
    (tmp_path / "broken").write_text("clusters: [")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "broken"))
    with pytest.raises(ClusterRefused, match=r"^the kubeconfig cannot be used"):
        Cluster.connect()


@pytest.mark.parametrize(
    ("user", "said"),
    [
        ({"token": "SEKRET\nTOKEN"}, "the kubeconfig's token holds a line break"),
        (
            {
                "exec": {
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "command": "no-such-login",
                    "args": [],
                }
            },
            "the login command of the kubeconfig failed or is not installed",
        ),
    ],
)
def test_a_kubeconfig_that_gives_no_token_is_one_line_without_it(
    fake: FakeCluster,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    user: dict[str, Any],
    said: str,
) -> None:
    path = fake.write_kubeconfig(tmp_path / "kubeconfig")
    config = yaml.safe_load(path.read_text())
    config["users"][0]["user"] = user
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))
    with pytest.raises(ClusterRefused, match=said) as caught:
        Cluster.connect()
    assert "SEKRET" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_field_that_a_kind_does_not_have_is_refused(fake: FakeCluster, cluster: Cluster) -> None:
    crd_schemas.schema_of("trainer.kubeflow.org/v1alpha1", "TrainJob")
    broken = json.loads(json.dumps(JOB))
    broken["spec"]["nodes"] = 2
    with pytest.raises(ClusterRefused, match=r"refuses this TrainJob: spec.nodes: unknown field"):
        cluster.create(train_job.TRAIN_JOB, broken)
    cluster.create(train_job.TRAIN_JOB, JOB)
    with pytest.raises(Exists):
        cluster.create(train_job.TRAIN_JOB, JOB)
