"""Two sampler pods that share the step `cot`: byte for byte, killed, taken over, in a queue, and refused."""

from __future__ import annotations

import json
import re
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mathloop.cluster.train_job_spec import SERVICE_ACCOUNT, job_name
from mathloop.records import Problem, write_problems
from mathloop.reports.summary import write_summary
from mathloop.settings.pools import SamplerPool
from mathloop.stages import StageReport
from mathloop.storage import open_store
from mathloop.synthesis.config import CoTConfig
from tests.cluster.launching import Launching
from tests.cluster.real_cluster import NAMESPACE, QUEUE, RUNS, Object, RealCluster, until
from tests.cluster.small_champions import save

pytestmark = pytest.mark.timeout(1800)

RUNNER = "pipeline-runner"
"""KFP's account of runs, to which manifests/base/pipeline-access.yaml gives its permissions."""
PROBLEMS = [Problem(f"p{n}", f"What is {n} + 1?", str(n + 1)) for n in range(20)]
CONFIG = CoTConfig.model_validate({"samples": 2, "keep": 2, "sampling": {"batch_size": 4, "max_tokens": 200}})
SHARDS = len(PROBLEMS) * CONFIG.samples // CONFIG.sampling.batch_size
JOBS = "jobs.batch"


class Step(Launching):
    """The step, which waits for the pods as the account of KFP's runs."""

    def __init__(self, store_url: str, run_id: str, folder: Path, account: Path, **pool: Any) -> None:
        self.name, self.folder = job_name(run_id, "cot"), folder
        self.artifacts = f"sampling/{run_id}/cot"
        small = {"nodes": 2, "shard_responses": CONFIG.sampling.batch_size, "queue_seconds": 600}
        chosen = SamplerPool.model_validate({**small, "run_seconds": 1500, **pool}).model_dump_json()
        environment = {"KUBECONFIG": str(account), "MATHLOOP_IMAGE_VARIANT": "cpu"}
        arguments = (store_url, run_id, str(folder), CONFIG.model_dump_json(), chosen)
        super().__init__("sampling_launcher", *arguments, **environment)

    def drawn(self) -> list[int]:
        """The shards, from 1, that pod 0 says to have drawn: the step shows its log."""
        return [int(found[1]) for line in self.lines if (found := re.search(r"shard (\d+) is done", line))]


@pytest.fixture(scope="module")
def runner(cluster: RealCluster) -> Iterator[str]:
    """The account of KFP's runs; made where KFP is not installed."""
    named = {"name": RUNNER, "namespace": RUNS}
    there = any(one["metadata"]["name"] == RUNNER for one in cluster.items("serviceaccounts", RUNS))
    if not there:
        cluster.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": named})
    yield f"system:serviceaccount:{RUNS}:{RUNNER}"
    if not there:
        cluster.kubectl("delete", "serviceaccount", RUNNER, "-n", RUNS)


@pytest.fixture(scope="module")
def account(cluster: RealCluster, runner: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig with that account's token, and so with its permissions only."""
    token = cluster.kubectl("create", "token", RUNNER, "-n", RUNS, "--duration=6h").strip()
    return cluster.log_in(tmp_path_factory.mktemp("account") / "config", {"token": token})


def _inputs(folder: Path) -> Path:
    folder.mkdir()
    save(folder / "policy", 1)
    write_problems(folder / "problems", PROBLEMS)
    write_summary([StageReport("champion")], folder / "champion_summary")
    return folder


@pytest.fixture(scope="module")
def one_process(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What the step writes without pods."""
    folder = _inputs(tmp_path_factory.mktemp("one") / "step")
    store = f"file://{folder}/store"
    alone = Launching("sampling_launcher", store, "alone", str(folder), CONFIG.model_dump_json(), "")
    code, output = alone.end()
    assert code == 0, output
    return _written(folder)


def _written(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("responses", "dropped")}


@pytest.fixture
def start(store_url: str, account: Path, tmp_path: Path) -> Iterator[Callable[..., Step]]:
    """Starts the step; a second one of the same run is the first one's next attempt."""
    begun: list[Step] = []
    run_id = f"test-{uuid.uuid4().hex[:8]}"
    inputs = _inputs(tmp_path / "step")

    def start(**pool: Any) -> Step:
        begun.append(Step(store_url, run_id, inputs, account, **pool))
        return begun[-1]

    yield start
    for step in begun:
        step.process.kill()


def _job(cluster: RealCluster, step: Step) -> Object | None:
    return next((one for one in cluster.items(JOBS) if one["metadata"]["name"] == step.name), None)


def _pods(cluster: RealCluster, step: Step) -> dict[int, list[Object]]:
    """Index → its pods, the oldest first."""
    found: dict[int, list[Object]] = {}
    pods = cluster.items("pods", NAMESPACE, f"batch.kubernetes.io/job-name={step.name}")
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"])):
        index = int(pod["metadata"]["labels"]["batch.kubernetes.io/job-completion-index"])
        found.setdefault(index, []).append(pod)
    return found


def _running(cluster: RealCluster, step: Step) -> dict[int, Object] | None:
    """Index → pod; None until both run."""
    pods = {index: some[-1] for index, some in _pods(cluster, step).items()}
    both = len(pods) == 2 and all(pod["status"].get("phase") == "Running" for pod in pods.values())
    return pods if both else None


def _nothing_is_left(cluster: RealCluster, step: Step, store_url: str) -> None:
    until("the Job is gone", 60, lambda: _job(cluster, step) is None)
    until("its pods are gone", 60, lambda: not _pods(cluster, step))
    assert list(open_store(store_url).names()) == []


def test_two_pods_write_what_one_process_writes(
    cluster: RealCluster, start: Callable[..., Step], store_url: str, one_process: dict[str, bytes]
) -> None:
    """Pods without root, without a token and with a root that is read-only; afterwards nothing is left.

    Run: lab.
    """
    step = start()
    pods = until("both pods run", 600, lambda: _running(cluster, step))
    for pod in pods.values():
        spec = pod["spec"]
        assert spec["serviceAccountName"] == SERVICE_ACCOUNT
        assert not any("projected" in volume for volume in spec["volumes"])
        assert pod["metadata"]["labels"]["app.kubernetes.io/component"] == "sampler"
    shell = "id -u; touch /opt/x 2>&1; ls /var/run/secrets 2>&1; touch /tmp/x && echo writes"
    name = pods[1]["metadata"]["name"]
    said = cluster.kubectl("exec", name, "-n", NAMESPACE, "--", "sh", "-c", shell)
    assert said.startswith("65532\n")
    assert "Read-only file system" in said
    assert "No such file" in said
    assert said.endswith("writes\n")
    code, output = step.end()
    assert code == 0, output
    assert _written(step.folder) == one_process
    assert "Sampled by 2 pods" in (step.folder / "summary").read_text()
    _nothing_is_left(cluster, step, store_url)


def test_a_pod_that_is_deleted_loses_one_shard(
    cluster: RealCluster, start: Callable[..., Step], store_url: str, one_process: dict[str, bytes]
) -> None:
    """It is deleted at once between two of its shards. The Job replaces it, and the other pod goes on.

    Run: lab.
    """
    step = start()
    step.said("cot: shard ")
    before = until("both pods run", 60, lambda: _running(cluster, step))
    lost = before[0]["metadata"]["name"]
    cluster.kubectl("delete", "pod", lost, "-n", NAMESPACE, "--grace-period=0", "--force")
    published = {n for n in range(SHARDS) if _is_done(store_url, step, n)}
    seen: set[str] = set()

    def replaced() -> bool:
        seen.update(pod["metadata"]["name"] for some in _pods(cluster, step).values() for pod in some)
        return step.process.poll() is not None

    until("the step ends", 900, replaced)
    code, output = step.end()
    assert code == 0, output
    assert _written(step.folder) == one_process
    assert len(seen - {lost}) == 2, "one pod of index 0 more, and no other of index 1"
    assert before[1]["metadata"]["name"] in seen
    again = [shard for shard in step.drawn() if step.drawn().count(shard) > 1]
    assert not again, output
    assert 0 < len(published) < SHARDS
    _nothing_is_left(cluster, step, store_url)


def _is_done(store_url: str, step: Step, shard: int) -> bool:
    return open_store(store_url).exists(f"{step.artifacts}/shards/{shard}")


def test_a_step_that_is_lost_takes_its_job_over(
    cluster: RealCluster, start: Callable[..., Step], store_url: str, one_process: dict[str, bytes]
) -> None:
    """The first step is killed without a chance to clean up, as where its node is lost: same Job and pods.

    Run: lab.
    """
    first = start()
    pods = until("both pods run", 600, lambda: _running(cluster, first))
    job = _job(cluster, first)
    assert job is not None
    first.process.kill()
    second = start()
    second.said(f"resuming Job {NAMESPACE}/{first.name}")
    now = _job(cluster, first)
    assert now is not None
    assert now["metadata"]["uid"] == job["metadata"]["uid"]
    same = {index: [pod["metadata"]["name"]] for index, pod in pods.items()}
    found = {
        index: [pod["metadata"]["name"] for pod in some] for index, some in _pods(cluster, first).items()
    }
    assert found == same
    code, output = second.end()
    assert code == 0, output
    assert _written(second.folder) == one_process
    _nothing_is_left(cluster, second, store_url)


def test_a_step_that_is_stopped_keeps_its_shards_for_the_next(
    cluster: RealCluster, start: Callable[..., Step], store_url: str, one_process: dict[str, bytes]
) -> None:
    """SIGTERM, as by KFP's cancel: Job and pods go at once; the next attempt draws what is missing.

    Run: lab.
    """
    first = start()
    first.said("cot: shard ")
    first.process.send_signal(signal.SIGTERM)
    code, output = first.end()
    assert code == 128 + signal.SIGTERM, output
    # A pod that did not end by SIGTERM would stay for the 30 s of its grace period.
    until("Job and pods are gone", 25, lambda: _job(cluster, first) is None and not _pods(cluster, first))
    done = {n for n in range(SHARDS) if _is_done(store_url, first, n)}
    assert 0 < len(done) < SHARDS
    second = start()
    second.said(f"created Job {NAMESPACE}/{first.name}")
    code, output = second.end()
    assert code == 0, output
    assert _written(second.folder) == one_process
    assert not {shard - 1 for shard in second.drawn()} & done
    _nothing_is_left(cluster, second, store_url)


def test_a_model_that_cannot_be_loaded_ends_the_step(
    cluster: RealCluster, start: Callable[..., Step], tmp_path: Path
) -> None:
    """A mistake that another pod would repeat: the pod's own line, exit code 2, and no pod is tried again.

    Run: lab.
    """
    (tmp_path / "step" / "policy" / "model.safetensors").write_bytes(b"no weights")
    step = start()
    code, output = step.end()
    assert code == 2, output
    # The log of pod 0, which the step shows, may have the pod's line too.
    line = output.splitlines()[-1]
    assert line.startswith(f"mathloop: error: Job {NAMESPACE}/{step.name} failed (PodFailurePolicy: ")
    assert ", exit code 2: " in line
    assert "model" in line
    job = _job(cluster, step)
    assert job is not None, "it stays to be looked at"
    assert job["status"].get("active", 0) == 0
    assert all(len(pods) == 1 for pods in _pods(cluster, step).values())


def test_kueue_admits_the_pods_or_says_why_not(
    cluster: RealCluster,
    queue: Callable[..., None],
    start: Callable[..., Step],
    store_url: str,
    one_process: dict[str, bytes],
) -> None:
    """First more than the queue has in all, which is one line; then with enough, a Workload of two pods.

    Run: lab.
    """
    queue(cpu="600m", memory="1Ti")
    code, output = start(queue=QUEUE).end(300)
    assert code == 2, output
    assert "request less cpu in pools.sampler, or raise the nominalQuota" in output
    queue(cpu="4", memory="1Ti")
    step = start(queue=QUEUE)
    until("both pods run", 600, lambda: _running(cluster, step))
    (workload,) = cluster.items("workloads.kueue.x-k8s.io")
    assert workload["spec"]["queueName"] == QUEUE
    assert [one["count"] for one in workload["spec"]["podSets"]] == [2]
    code, output = step.end()
    assert code == 0, output
    assert _written(step.folder) == one_process
    _nothing_is_left(cluster, step, store_url)


def test_requests_without_limits_are_not_refused(
    cluster: RealCluster, start: Callable[..., Step], one_process: dict[str, bytes]
) -> None:
    """More than what the namespace's LimitRange gives containers without limits.

    Run: lab.
    """
    step = start(cpu="1100m", memory="1100Mi")
    code, output = step.end()
    assert code == 0, output
    assert _written(step.folder) == one_process


ALLOWED = {
    ("batch/jobs", "get create patch delete"),
    ("/pods", "get list watch"),
    ("/pods/log", "get list watch"),
    ("/events", "get list watch"),
    ("kueue.x-k8s.io/workloads", "get list watch"),
    ("/configmaps mathloop-store", "get"),
}
"""What sampling needs of the API server, and the name of the store's address."""
OTHERS = {"serving.kserve.io", "trainer.kubeflow.org", "gateway.networking.k8s.io"}
"""Groups for training and serving; for the latter, Services too."""


def test_the_account_of_runs_may_do_this_and_no_more(cluster: RealCluster, runner: str) -> None:
    """What the other cases do is enough; by the API server's own answer it is not more, and pods may nothing.

    Run: lab.
    """
    found = {one for one in _may(cluster, runner, NAMESPACE) if one[0].partition("/")[0] not in OTHERS}
    assert found - {("/services", "get create update")} == ALLOWED
    assert _may(cluster, f"system:serviceaccount:{NAMESPACE}:{SERVICE_ACCOUNT}", NAMESPACE) == set()
    assert _may(cluster, runner, "kube-system") == set()


def _may(cluster: RealCluster, account: str, namespace: str) -> set[tuple[str, str]]:
    """(group/resource and names, verbs) of what the account may do in the namespace, but ask what it may."""
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": namespace},
    }
    create = ("create", "--validate=false", "-f", "-", "-o", "json", f"--as={account}")
    answer = cluster.kubectl(*create, stdin=json.dumps(review))
    return {
        (" ".join([f"{group}/{resource}", *rule.get("resourceNames", [])]), " ".join(rule["verbs"]))
        for rule in json.loads(answer)["status"]["resourceRules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        if group not in ("authorization.k8s.io", "authentication.k8s.io")
    }
