"""Sampling on several pods: shards through the store, a pod that is killed, a job that fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mathloop.cluster import sampling_job_spec, sampling_launching, sampling_node, train_job
from mathloop.cluster.kubernetes import Cluster
from mathloop.cluster.train_job_spec import NODE
from mathloop.errors import BadConfig, Corrupt, MathloopError, StorageAway
from mathloop.records import Problem, Response, read_responses, write_problems
from mathloop.sampling import engines
from mathloop.sampling.config import SamplingConfig
from mathloop.settings.pools import SamplerPool, Toleration
from mathloop.stages import StageReport
from mathloop.storage import Store, open_store
from mathloop.synthesis import cot, reward_data
from tests.fake_cluster import FakeCluster, now
from tests.paths import ROOT
from tests.unit.synthesis.scripted import script

POOL = SamplerPool(nodes=2, shard_problems=3)
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


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sample 0 of a problem is right and the others are wrong."""

    def answer(problem: Problem, sample: int) -> Response:
        right = int(problem.id[1:]) + 1
        text = str(right + sample)
        right_one = sample == 0
        return Response(problem.id, sample, "cot", text, answer=text, correct=right_one, finish_reason="stop")

    for stage in (cot, reward_data):
        script(monkeypatch, stage, answer)


def launch(cluster: Cluster, store: str, inputs: dict[str, Path], folder: Path, **more: Any) -> StageReport:
    arguments: dict[str, Any] = {
        "stage_name": "cot", "inputs": inputs, "store_url": store, "round_id": "round-1",
        "out": folder / "responses", "dropped": folder / "dropped", "access": "{}",
        "pool": POOL.model_dump_json(), "image": "mathloop/sampler:0.1.0", "seed": 7,
        "config": '{"samples": 2, "keep": 2}', "say": str,
    }  # fmt: skip
    return sampling_launching.run(**{**arguments, **more}, cluster=cluster, poll_seconds=0.05)


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
    fake: FakeCluster, cluster: Cluster, store: str, inputs: dict[str, Path], tmp_path: Path, answers: None
) -> None:
    (job,) = [run_pods(fake, lambda task, index: sampling_node.run(task, str(index)))]
    report = launch(cluster, store, inputs, tmp_path)
    assert job[0]["spec"]["completions"] == job[0]["spec"]["parallelism"] == 2
    assert (report.inputs, report.generated, report.kept) == (8, 16, 8)
    assert report.dropped == {"wrong answer": 8}
    assert [one.problem_id for one in read_responses(tmp_path / "responses")] == [p.id for p in PROBLEMS]
    rows = [json.loads(line) for line in (tmp_path / "dropped").read_text().splitlines()]
    assert [row["problem_id"] for row in rows] == [problem.id for problem in PROBLEMS]
    assert "2 pods in 3 shards" in report.notes[-1]
    # As a stage on one pod does; only shards stay, for a step that starts again.
    cot.run(
        problems=inputs["problems"], policy=inputs["policy"], reward_model=None, out=tmp_path / "one",
        config=cot.CoTConfig(samples=2, keep=2), seed=7,
    )  # fmt: skip
    assert list(read_responses(tmp_path / "one")) == list(read_responses(tmp_path / "responses"))
    assert fake.count("jobs") == 0
    left = list(open_store(store).names())
    assert left == [f"sampling/round-1/cot/shards/{shard}" for shard in range(3)]
    requests = len(fake.requests)
    again = launch(cluster, store, inputs, tmp_path, out=tmp_path / "again")
    assert (again.generated, again.dropped) == (report.generated, report.dropped)
    assert len(fake.requests) == requests


def test_a_step_that_starts_again_has_only_the_missing_shards_drawn(
    fake: FakeCluster, cluster: Cluster, store: str, inputs: dict[str, Path], tmp_path: Path, answers: None
) -> None:
    run_pods(fake, lambda task, index: sampling_node.run(task, str(index)))
    launch(cluster, store, inputs, tmp_path)
    open_store(store).remove("sampling/round-1/cot/shards/1")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("responses.parquet")}
    launch(cluster, store, inputs, tmp_path)
    assert len(list(read_responses(tmp_path / "responses"))) == 8
    assert all(path.stat().st_mtime_ns == before[path] for path in before if path.exists())


def test_a_shard_that_two_pods_published_at_once_is_drawn_again(
    fake: FakeCluster, cluster: Cluster, store: str, inputs: dict[str, Path], tmp_path: Path, answers: None
) -> None:
    run_pods(fake, lambda task, index: sampling_node.run(task, str(index)))
    launch(cluster, store, inputs, tmp_path)
    shard = tmp_path / "store" / "sampling" / "round-1" / "cot" / "shards" / "1"
    (shard / "dropped.jsonl").write_text("another pod's")
    with pytest.raises(Corrupt, match=r"shard 2 was removed; retry the step") as caught:
        launch(cluster, store, inputs, tmp_path, out=tmp_path / "again")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "again").exists()
    assert launch(cluster, store, inputs, tmp_path, out=tmp_path / "again").generated == 16


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
        for index, code in ((0, 0), (1, 2)):
            state = {
                "exitCode": code, "reason": "Error", "startedAt": now(),
                "message": "loading\nmathloop: error: engine: vllm cannot be imported; set engine\n" * code,
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
    assert "\n" not in said
    assert said.startswith("Job mathloop/mathloop-cot-")
    assert said.endswith("node 1: Error, exit code 2: engine: vllm cannot be imported; set engine")
    assert not (tmp_path / "responses").exists()
    assert not (tmp_path / "dropped").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"stage_name": "dpo"}, "Task: stage: "),
        ({"pool": '{"gpu": 1}'}, "SamplerPool: gpu: "),
        ({"access": '{"token": "x"}'}, "Access: token: "),
    ],
)
def test_wrong_settings_are_one_line(
    cluster: Cluster, store: str, inputs: dict[str, Path], tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadConfig) as caught:
        launch(cluster, store, inputs, tmp_path, **more)
    assert said in str(caught.value)


def test_values_of_shards_are_weighted_by_their_responses() -> None:
    shards = [
        StageReport("reward_data", generated=30, values={"share of right responses": 0.5, "tokens": 10.0}),
        StageReport("reward_data", generated=10, values={"share of right responses": 0.9, "tokens": 5.0}),
    ]
    joined = sampling_launching.joined("reward_data", shards)
    assert joined.values == pytest.approx({"share of right responses": 0.6, "tokens": 15.0})


def test_pods_work_while_the_first_one_is_replaced(
    fake: FakeCluster, cluster: Cluster, store: str, inputs: dict[str, Path], tmp_path: Path, answers: None
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
    pool = POOL.model_copy(update={"queue_seconds": 60}).model_dump_json()
    report = launch(cluster, store, inputs, tmp_path, pool=pool, say=said.append)
    assert report.inputs == len(PROBLEMS)
    assert any(line.endswith(" runs") for line in said)


def test_a_shard_that_a_cut_off_pod_published_meanwhile_is_done(
    store: str, inputs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node that does not answer is replaced while its pod still draws: other texts, the same shard."""
    opened = open_store(store)
    for name in ("problems", "policy"):
        opened.publish(inputs[name], f"in/{name}")
    task = sampling_node.Task(
        stage="reward_data", store_url=store, inputs={name: f"in/{name}" for name in ("problems", "policy")},
        output="out", config="{}", seed=7, shard_problems=len(PROBLEMS), shards=1, pods=1,
    )  # fmt: skip
    (tmp_path / "earlier").write_text("drawn by the other pod")

    def draw(*, out: Path, dropped: Path, **_: Any) -> StageReport:
        out.write_text("drawn by this pod")
        dropped.write_text("")
        opened.publish(tmp_path / "earlier", task.artifact(0))
        return StageReport("reward_data")

    monkeypatch.setattr(reward_data, "run", draw)
    sampling_node.run(task.model_dump_json(), "0")
    opened.fetch(task.artifact(0), tmp_path / "fetched")
    assert (tmp_path / "fetched").read_text() == "drawn by the other pod"


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


@pytest.mark.parametrize("samples", [0, 2])
def test_the_champion_adds_responses_of_its_own(
    fake: FakeCluster,
    cluster: Cluster,
    store: str,
    inputs: dict[str, Path],
    tmp_path: Path,
    answers: None,
    samples: int,
) -> None:
    """It is sent to the pods only if it does: a champion of 72B is 145 GB."""
    run_pods(fake, lambda task, index: sampling_node.run(task, str(index)))
    sent: list[str] = []
    publish = Store.publish
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            Store, "publish", lambda self, path, name: (sent.append(name), publish(self, path, name))[1]
        )
        report = launch(
            cluster, store, {**inputs, "champion": inputs["policy"]}, tmp_path, stage_name="reward_data",
            config=json.dumps({"samples": 3, "champion_samples": samples}),
        )  # fmt: skip
    assert report.generated == report.kept == len(PROBLEMS) * (3 + samples)
    assert ("sampling/round-1/reward_data/inputs/champion" in sent) is bool(samples)
    models = [response.model for response in read_responses(tmp_path / "responses")]
    assert models.count("champion") == len(PROBLEMS) * samples


@pytest.mark.slow
def test_a_killed_pod_loses_one_shard(store: str, inputs: dict[str, Path], tmp_path: Path) -> None:
    """Two real processes; one is killed between two of its shards and started again."""
    opened = open_store(store)
    for name in ("problems", "policy"):
        opened.publish(inputs[name], f"in/{name}")
    task = sampling_node.Task(
        stage="reward_data", store_url=store, inputs={name: f"in/{name}" for name in ("problems", "policy")},
        output="out", config="{}", seed=7, shard_problems=1, shards=len(PROBLEMS), pods=2,
    )  # fmt: skip

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
        if "shard 2 of 8 is done" in line:
            killed.kill()
            break
    killed.communicate()
    done = [shard for shard in (1, 3, 5, 7) if opened.exists(task.artifact(shard))]
    assert 1 in done
    assert 7 not in done
    again = start(1)
    said, _ = again.communicate(timeout=120)
    other.communicate(timeout=120)
    assert (again.returncode, other.returncode) == (0, 0)
    first, *drawn = said.splitlines()
    assert f"{len(done)} of 4 shards of this pod are done" in first
    assert [int(line.split()[2]) - 1 for line in drawn] == [one for one in (1, 3, 5, 7) if one not in done]
    report = sampling_launching._join(opened, task, tmp_path / "responses", tmp_path / "dropped")
    assert report.kept == len(PROBLEMS)
    texts = [response.text for response in read_responses(tmp_path / "responses")]
    assert texts == [f"p{n} with seed {sampling_node.seed_of(7, n)}" for n in range(len(PROBLEMS))]


def test_a_policy_is_loaded_once_for_all_shards_and_closed_for_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[str] = []

    class Loaded:
        def __init__(self, folder: Path) -> None:
            seen.append(f"load {folder.name}")
            self.folder = folder

        def close(self) -> None:
            seen.append(f"close {self.folder.name}")

    monkeypatch.setattr(engines, "_load", lambda folder, config: Loaded(folder))
    config = SamplingConfig()
    with engines.kept_samplers():
        for name in ("sft", "sft", "sft", "champion"):
            with engines.load_sampler(tmp_path / name, config) as sampler:
                assert sampler.folder.name == name
        assert seen == ["load sft", "close sft", "load champion"]  # two would not fit on a GPU
    assert seen.pop() == "close champion"
    engines.load_sampler(tmp_path, config).close()
    assert seen[-2:] == [f"load {tmp_path.name}", f"close {tmp_path.name}"]
