"""Sampling on several pods: shards through the store, a pod that is killed, a job that fails."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import import_module
from inspect import getsource, signature
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from mathloop.cluster import sampling_job_spec, sampling_launching, sampling_node, train_job
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.train_job_spec import NODE
from mathloop.errors import BadConfig, MathloopError, StorageAway
from mathloop.evaluation import evaluate
from mathloop.evaluation.config import BenchmarksConfig, EvaluationConfig
from mathloop.records import Problem, Response, read_responses, write_problems
from mathloop.sampling import engines
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.sharing import Replay, Shards, pod
from mathloop.sampling.sharing.shards import Counts
from mathloop.sampling.sources import sampling_from
from mathloop.settings.pools import SamplerPool, Toleration
from mathloop.stages import StageReport
from mathloop.storage import open_store
from mathloop.synthesis import cot, reward_data
from mathloop.synthesis.config import CoTConfig, RewardDataConfig
from tests.fake_cluster import FakeCluster, now
from tests.paths import ROOT
from tests.unit.synthesis.scripted import ScriptedSampler

POOL = SamplerPool(nodes=2, shard_responses=6)
CONFIG = CoTConfig(samples=2, keep=2, sampling=SamplingConfig(batch_size=6))
LABELED = RewardDataConfig(samples=2, sampling=SamplingConfig(batch_size=2))
PROBLEMS = [Problem(f"p{n}", f"What is {n} + 1?", str(n + 1)) for n in range(8)]


@pytest.fixture
def store(tmp_path: Path) -> str:
    return f"file://{tmp_path}/store"


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / name for name in ("problems", "policy", "reward_model")}
    write_problems(paths["problems"], PROBLEMS)
    for name in ("policy", "reward_model"):
        paths[name].mkdir()
    (paths["policy"] / "config.json").write_text("{}")
    return paths


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample 0 of a problem is right and the others are wrong."""

    def answer(problem: Problem, sample: int) -> Response:
        text = str(int(problem.id[1:]) + 1 + sample)
        return Response(problem.id, sample, "cot", text, answer=text, finish_reason="stop")

    for module in (engines, pod):
        monkeypatch.setattr(module, "load_engines", lambda *_: ScriptedSampler(answer, 10_000))
    monkeypatch.setattr(pod._PodSampler, "fits", lambda *_: True)


def launch(cluster: Cluster, store: str, inputs: dict[str, Path], folder: Path, **more: Any) -> StageReport:
    """The step cot, or `stage` with its `config`."""
    arguments: dict[str, Any] = {
        "problems": inputs["problems"], "policy": inputs["policy"], "reward_model": None, "seed": 7,
        "out": folder / "responses", "dropped": folder / "dropped", "config": CONFIG,
    }  # fmt: skip
    how: dict[str, Any] = {"stage": "cot", "pool": POOL.model_dump(mode="json"), "access": {}, "image": "i"}
    run = more.pop("run", cot.run)
    say = more.pop("say", str)
    how |= {key: more.pop(key) for key in tuple(more) if key in how}
    arguments |= more
    with sampling_launching.shared(
        json.dumps(how), store, "round-1", arguments, cluster=cluster, say=say, poll_seconds=0.05
    ) as shared:
        report: StageReport = run(**arguments)
        shared.describe(report)
        shared.clean()
    return report


def run_pods(fake: FakeCluster, pod: Callable[[str, int], None]) -> list[dict[str, Any]]:
    """A Job's controller: calls `pod` with task and index for each, then completes the job; the jobs seen."""
    seen: list[dict[str, Any]] = []

    def work(job: dict[str, Any]) -> None:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        task = {one["name"]: one.get("value") for one in container["env"]}[sampling_job_spec.TASK_VARIABLE]
        for index in range(job["spec"]["completions"]):
            pod(task, index)
        condition = {"type": "Complete", "status": "True", "reason": "", "message": ""}
        status = {"conditions": [{**condition, "lastTransitionTime": now()}]}
        fake.status("jobs", job["metadata"]["name"], status)

    def reconcile(plural: str, job: dict[str, Any]) -> None:
        if plural == "jobs" and not job.get("status"):
            seen.append(job)
            threading.Thread(target=work, args=(job,), daemon=True).start()

    fake.controllers.append(reconcile)
    return seen


def test_pods_share_the_problems_and_their_shards_are_joined_in_order(
    fake: FakeCluster, cluster: Cluster, store: str, inputs: dict[str, Path], tmp_path: Path
) -> None:
    (job,) = [run_pods(fake, lambda task, index: sampling_node.run(task, str(index)))]
    report = launch(cluster, store, inputs, tmp_path)
    assert job[0]["spec"]["completions"] == job[0]["spec"]["parallelism"] == 2
    assert (report.inputs, report.generated, report.kept) == (8, 16, 8)
    assert report.dropped == {"wrong answer": 8}
    assert [one.problem_id for one in read_responses(tmp_path / "responses")] == [p.id for p in PROBLEMS]
    rows = [json.loads(line) for line in (tmp_path / "dropped").read_text().splitlines()]
    assert [row["problem_id"] for row in rows] == [problem.id for problem in PROBLEMS]
    assert "by 2 pods" in report.notes[-1]
    cot.run(
        problems=inputs["problems"], policy=inputs["policy"], reward_model=None, out=tmp_path / "one",
        dropped=tmp_path / "one-dropped", config=CONFIG, seed=7,
    )  # fmt: skip
    for name in ("", "-dropped"):
        shared = tmp_path / (name.removeprefix("-") or "responses")
        assert (tmp_path / f"one{name}").read_bytes() == shared.read_bytes()
    assert fake.count("jobs") == 0
    assert list(open_store(store).names()) == []


def test_a_step_that_was_killed_before_its_outputs_were_written_draws_nothing_again(
    fake: FakeCluster, cluster: Cluster, store: str, inputs: dict[str, Path], tmp_path: Path
) -> None:
    run_pods(fake, lambda task, index: sampling_node.run(task, str(index)))

    def dies(**arguments: Any) -> StageReport:
        cot.run(**{**arguments, "out": tmp_path / "lost"})
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        launch(cluster, store, inputs, tmp_path, run=dies)
    left = [name.split("/", 3)[3] for name in open_store(store).names()]
    assert left == ["pods/0", "pods/1", "shards/0", "shards/1", "shards/2"]
    requests = len(fake.requests)
    assert launch(cluster, store, inputs, tmp_path).generated == 16
    assert len(fake.requests) == requests
    assert list(open_store(store).names()) == []


def test_an_evaluation_takes_its_models_and_the_settings_of_its_benchmarks_along(
    fake: FakeCluster, cluster: Cluster, store: str, inputs: dict[str, Path], tmp_path: Path
) -> None:
    """Of its models the pods get those that there are: a first round has no reward model."""
    run_pods(fake, lambda task, index: sampling_node.run(task, str(index)))
    arguments: dict[str, Any] = {
        "benchmark": inputs["problems"], "models": {"sft": inputs["policy"], "champion": inputs["policy"]},
        "reward_model": inputs["reward_model"], "seed": 7, "named": BenchmarksConfig(limit=5),
        "config": EvaluationConfig(samples=2, sampling=SamplingConfig(batch_size=6)),
    }  # fmt: skip
    evaluate.run(**arguments, out=tmp_path / "one")
    pods = {"stage": "champion_evaluation", "pool": POOL.model_dump(mode="json"), "access": {}, "image": "i"}
    arguments["out"] = tmp_path / "two"
    with sampling_launching.shared(
        json.dumps(pods), store, "round-1", arguments, cluster=cluster, say=str, poll_seconds=0.05
    ):
        report = evaluate.run(**arguments)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert report.generated == 2 * 2 * len(PROBLEMS) * (1 + 2)
    assert not any("/inputs/" in name for name in open_store(store).names())


def test_the_job_is_valid_holds_no_key_and_has_the_pools_settings() -> None:
    validation = pytest.importorskip("kubernetes_validate")
    pool = SamplerPool(
        nodes=4, accelerator="nvidia.com/gpu", gpus=8, queue="mathloop", shared_memory="8Gi",
        node_selector={"mathloop.dev/pool": "sampler"}, tolerations=(Toleration(key="nvidia.com/gpu"),),
    )  # fmt: skip
    job = sampling_job_spec.build(
        name="mathloop-cot-1", namespace="mathloop", stage="cot", task="{}", pods=4, image="i", pool=pool,
        secret="mathloop-s3", config_map="mathloop-store", ca_config_map="authority",
    )  # fmt: skip
    validation.validate(job, "1.34", strict=True)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == 8
    assert pod["nodeSelector"] == {"mathloop.dev/pool": "sampler"}
    assert pod["securityContext"]["runAsNonRoot"]
    assert container["securityContext"]["readOnlyRootFilesystem"]
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "mathloop"
    assert {one["name"] for one in container["env"] if "secretKeyRef" in one.get("valueFrom", {})}
    assert job["spec"]["template"]["metadata"]["labels"]["mathloop.dev/store-client"] == "true"


def test_a_pods_own_error_is_the_jobs_in_one_line(
    fake: FakeCluster, cluster: Cluster, store: str, inputs: dict[str, Path], tmp_path: Path
) -> None:
    def fail(plural: str, job: dict[str, Any]) -> None:
        if plural != "jobs" or job.get("status"):
            return
        name = job["metadata"]["name"]
        own_error = "loading\nmathloop: error: engine: vllm cannot be imported; set engine\n"
        # The pod that failed is the first to end; the cluster then stops the other one.
        for index, code, second, message in ((0, 143, 9, "loading\n"), (1, 2, 7, own_error)):
            state = {
                "exitCode": code, "reason": "Error", "startedAt": now(), "message": message,
                "finishedAt": f"2026-12-02T10:00:0{second}Z",
            }  # fmt: skip
            fake.put("pods", {
                "metadata": {"name": f"{name}-{index}-abc", "namespace": "mathloop", "labels": {
                    "batch.kubernetes.io/job-name": name,
                    "batch.kubernetes.io/job-completion-index": str(index),
                }, "creationTimestamp": now()},
                "status": {"containerStatuses": [
                    {"name": NODE, "image": "mathloop/sampler:0.1.0", "state": {"terminated": state}}
                ]},
            })  # fmt: skip
        reason = {"reason": "PodFailurePolicy", "message": "pod failed."}
        status = {"type": "Failed", "status": "True", "lastTransitionTime": now(), **reason}
        fake.status("jobs", name, {"conditions": [status]})

    fake.controllers.append(fail)
    with pytest.raises(train_job.TrainJobFailed) as caught:
        launch(cluster, store, inputs, tmp_path)
    said = str(caught.value)
    assert caught.value.exit_code == 2
    assert "\n" not in said
    assert said.startswith("Job mathloop/mathloop-cot-")
    assert said.endswith("node 1: Error, exit code 2: engine: vllm cannot be imported; set engine")
    assert not (tmp_path / "responses").exists()
    assert not (tmp_path / "dropped").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"stage": "dpo"}, "stage 'dpo': expected one of cot, "),
        ({"pool": {"gpu": 1}}, "pods: pool.gpu: "),
        ({"access": {"token": "x"}}, "pods: access.token: "),
    ],
)
def test_wrong_settings_are_one_line(
    cluster: Cluster, store: str, inputs: dict[str, Path], tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadConfig) as caught:
        launch(cluster, store, inputs, tmp_path, **more)
    assert said in str(caught.value)


def test_every_step_that_samples_can_be_shared() -> None:
    """The function that pods run takes its arguments by name, from what the component gives its stage."""
    for name in sampling_node.STAGES:
        component = import_module(f"components.{name}")
        source = getsource(component)
        assert "pods=[pods, store, round_id]" in source
        function = sampling_node.find_function(name)
        hints = get_type_hints(function)
        for argument, parameter in signature(function).parameters.items():
            assert argument in hints
            optional = parameter.default is not parameter.empty
            assert optional or f"{argument}=" in source or argument == "store_url"


def test_pods_work_while_the_first_one_is_replaced(
    fake: FakeCluster, cluster: Cluster, store: str, inputs: dict[str, Path], tmp_path: Path
) -> None:
    """Its replacement waits for a node, which does not make the job one that never started."""

    def work(job: dict[str, Any]) -> None:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        task = {one["name"]: one.get("value") for one in container["env"]}[sampling_job_spec.TASK_VARIABLE]
        threading.Event().wait(0.3)
        for index in range(2):
            sampling_node.run(task, str(index))
        done = {
            "type": "Complete",
            "status": "True",
            "reason": "",
            "message": "",
            "lastTransitionTime": now(),
        }
        fake.status("jobs", job["metadata"]["name"], {"conditions": [done]})

    def reconcile(plural: str, job: dict[str, Any]) -> None:
        if plural == "jobs" and not job.get("status"):
            name = job["metadata"]["name"]
            for index, states in ((0, []), (1, [{"name": NODE, "state": {"running": {"startedAt": now()}}}])):
                labels = {
                    "batch.kubernetes.io/job-name": name,
                    "batch.kubernetes.io/job-completion-index": str(index),
                }
                metadata: dict[str, Any] = {"name": f"{name}-{index}-abc", "namespace": "mathloop"}
                metadata |= {"labels": labels, "creationTimestamp": now()}
                fake.put("pods", {"metadata": metadata, "status": {"containerStatuses": states}})
            job["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"  # longer ago than it may wait
            threading.Thread(target=work, args=(job,), daemon=True).start()

    fake.controllers.append(reconcile)
    said: list[str] = []
    pool = {**POOL.model_dump(mode="json"), "queue_seconds": 60}
    report = launch(cluster, store, inputs, tmp_path, pool=pool, say=said.append)
    assert report.inputs == len(PROBLEMS)
    assert any(line.endswith(" runs") for line in said)


def test_a_shard_that_a_cut_off_pod_published_meanwhile_is_done(store: str, tmp_path: Path) -> None:
    """A node that does not answer is replaced while its pod still draws: other texts, the same shard."""
    shards = Shards(open_store(store), "sampling/round-1/cot", 8, 1)
    ((part, _),) = Counts(shards).cut(SamplingConfig(), PROBLEMS[:2], "cot", 1, [])
    for text in ("drawn by the other pod", "drawn by this pod"):
        shards.publish(part, [Response(one.id, 0, "cot", text) for one in PROBLEMS[:2]])
    assert {one.text for one in shards.read(part)} == {"drawn by the other pod"}


@pytest.mark.parametrize(
    ("error", "code"), [(BadConfig("cannot work"), 2), (StorageAway("no answer"), 1), (MathloopError("x"), 1)]
)
def test_only_a_mistake_that_another_pod_would_repeat_ends_the_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: MathloopError, code: int
) -> None:
    def fail(*_: str) -> None:
        raise error

    monkeypatch.setattr(sampling_node, "run", fail)
    with pytest.raises(SystemExit) as caught:
        sampling_node.main()
    assert caught.value.code == code
    assert capsys.readouterr().err == f"mathloop: error: {error}\n"


@pytest.mark.parametrize(
    ("pool", "limits"),
    [
        (SamplerPool(nodes=2), {}),
        (SamplerPool(nodes=2, cpu="4", memory="16Gi"), {"cpu": "4", "memory": "16Gi"}),
        (SamplerPool(nodes=2, cpu="4", cpu_limit="8", memory="16Gi"), {"cpu": "8", "memory": "16Gi"}),
        (SamplerPool(nodes=2, memory_limit="16Gi"), {"memory": "16Gi"}),
    ],
)
def test_no_request_is_above_the_limit_that_the_namespace_gives_those_without(
    pool: SamplerPool, limits: dict[str, str]
) -> None:
    job = sampling_job_spec.build(
        name="mathloop-cot-1", namespace="mathloop", stage="cot", task="{}", pods=2, image="i", pool=pool,
        secret="", config_map="mathloop-store",
    )  # fmt: skip
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["resources"].get("limits", {}) == limits
    assert container["resources"]["requests"] == pool.resources().get("requests")


@pytest.mark.slow
def test_a_killed_pod_loses_one_shard(store: str, inputs: dict[str, Path], tmp_path: Path) -> None:
    """Two real processes; one is killed between two of its shards and started again."""
    opened = open_store(store)
    task = sampling_node.Task(
        stage="reward_data", store_url=store, name="work", inputs=("problems", "policy"), absent=(),
        values={"config": LABELED.model_dump_json(), "seed": "7"}, shard_responses=2, pods=2,
    )  # fmt: skip
    for name in ("problems", "policy"):
        opened.publish(inputs[name], task.artifact(name))

    def start(index: int) -> subprocess.Popen[str]:
        variables = {sampling_job_spec.TASK_VARIABLE: task.model_dump_json(), "PYTHONPATH": str(ROOT)}
        return subprocess.Popen(
            [sys.executable, "-m", "tests.unit.cluster.pod"],
            env={**os.environ, **variables, sampling_node.INDEX_VARIABLE: str(index)},
            stdout=subprocess.PIPE,
            text=True,
        )

    killed, other = start(1), start(0)
    assert killed.stdout is not None
    for line in killed.stdout:
        if "shard 2 is done" in line:
            killed.kill()
            break
    killed.communicate()
    assert other.stdout is not None
    assert "is done" in other.stdout.readline()
    other.terminate()  # as when its node is drained
    other.communicate(timeout=120)
    assert other.returncode == 128 + signal.SIGTERM
    other = start(0)
    shards = task.shards()
    done = [number for number in (1, 3, 5, 7) if opened.exists(shards.artifact(number))]
    assert 1 in done
    assert 7 not in done
    again = start(1)
    said, _ = again.communicate(timeout=120)
    other.communicate(timeout=120)
    assert (again.returncode, other.returncode) == (0, 0)
    drawn = [int(line.split()[2]) - 1 for line in said.splitlines()]
    assert drawn == [number for number in (1, 3, 5, 7) if number not in done]
    with sampling_from(Replay(shards)):
        reward_data.run(
            problems=inputs["problems"], policy=inputs["policy"], out=tmp_path / "responses", seed=7,
            config=LABELED,
        )  # fmt: skip
    texts = {response.problem_id: response.text for response in read_responses(tmp_path / "responses")}
    assert texts == {problem.id: f"an answer to {problem.id}" for problem in PROBLEMS}
