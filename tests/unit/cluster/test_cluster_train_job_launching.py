"""A training that is handed to a TrainJob: through the store there and back, and done only once."""

from __future__ import annotations

import importlib
import inspect
import json
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mathloop.cluster import train_job_launching, train_job_spec, training_node
from mathloop.cluster.kubernetes import Cluster
from mathloop.errors import BadConfig
from mathloop.settings.pools import Pool
from mathloop.stages import StageReport
from mathloop.training.config import CHECKPOINTS_VARIABLE, SFTConfig
from tests.fake_cluster import FakeCluster, now


@pytest.fixture
def store(s3: Any) -> str:
    return f"s3://mathloop/test-{uuid.uuid4().hex}"


@pytest.fixture
def trainer(fake: FakeCluster, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Trainer and its nodes: node 0 does the task of a job that is created; the tasks that were done."""
    done: list[dict[str, Any]] = []

    def train(recipe: str, *, work: Path, config: Any, seed: int, paths: dict[str, Any]) -> StageReport:
        done.append({"recipe": recipe, "seed": seed, "config": config})
        model, (cot, tir) = paths.pop("model"), paths.pop("responses")
        model.mkdir()
        told = {name: path.read_text() for name, path in {**paths, "cot": cot, "tir": tir}.items()}
        (model / "model.safetensors").write_text(json.dumps(told, sort_keys=True))
        return StageReport("sft", inputs=len(paths), values={"loss": 0.5})

    def work(job: dict[str, Any]) -> None:
        env = {one["name"]: one.get("value") for one in job["spec"]["trainer"]["env"]}
        training_node.run(env[train_job_spec.TASK_VARIABLE])
        condition = {"type": "Complete", "status": "True", "reason": "", "message": ""}
        fake.status(
            "trainjobs", job["metadata"]["name"], {"conditions": [{**condition, "lastTransitionTime": now()}]}
        )

    def reconcile(plural: str, job: dict[str, Any]) -> None:
        if plural == "trainjobs" and not job.get("status"):
            threading.Thread(target=work, args=(job,), daemon=True).start()

    monkeypatch.setattr(training_node, "run_recipe", train)
    monkeypatch.setenv(CHECKPOINTS_VARIABLE, "")
    fake.controllers.append(reconcile)
    return done


def launch(cluster: Cluster, store: str, folder: Path, **more: Any) -> StageReport:
    inputs = {}
    for name in ("problems", "cot", "tir", "policy"):
        inputs[name] = folder / name
        inputs[name].write_text(f"the {name}")
    (folder / "work").mkdir(exist_ok=True)
    arguments: dict[str, Any] = {
        "recipe": "sft", "inputs": inputs, "store_url": store, "round_id": "round-1",
        "model": folder / "model", "work": folder / "work", "access": "{}",
        "pool": Pool(nodes=2).model_dump_json(), "config": "{}", "seed": 7,
    }  # fmt: skip
    return train_job_launching.run(**{**arguments, **more}, cluster=cluster, say=str, poll_seconds=0.05)


def test_inputs_and_model_go_through_the_store(
    fake: FakeCluster, cluster: Cluster, store: str, trainer: list[dict[str, Any]], tmp_path: Path
) -> None:
    report = launch(cluster, store, tmp_path)
    assert (report.stage, report.values) == ("sft", {"loss": 0.5})
    told = json.loads((tmp_path / "model" / "model.safetensors").read_text())
    assert told == {name: f"the {name}" for name in ("problems", "cot", "tir", "policy")}
    (task,) = trainer
    assert task == {"recipe": "sft", "seed": 7, "config": SFTConfig()}
    assert fake.count("trainjobs") == 0
    # A launcher that was killed after its job's end only takes the model.
    requests = len(fake.requests)
    again = launch(cluster, store, tmp_path, model=tmp_path / "again")
    assert again == report
    assert (tmp_path / "again" / "model.safetensors").is_file()
    assert len(fake.requests) == requests


def test_the_job_holds_no_key_of_the_store(
    fake: FakeCluster, cluster: Cluster, store: str, trainer: list[dict[str, Any]], tmp_path: Path, s3: Any
) -> None:
    seen: list[str] = []
    fake.controllers.append(lambda _, body: seen.append(json.dumps(body)))
    launch(cluster, store, tmp_path)
    assert seen
    assert not any(s3.environment()["AWS_SECRET_ACCESS_KEY"] in text for text in seen)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"recipe": "dpo"}, "Task: recipe: "),
        ({"pool": '{"gpu": 1}'}, "Pool: gpu: "),
        ({"access": '{"token": "x"}'}, "Access: token: "),
    ],
)
def test_wrong_settings_are_one_line(
    cluster: Cluster, store: str, tmp_path: Path, more: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadConfig) as caught:
        launch(cluster, store, tmp_path, **more)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("recipe", "inputs"),
    [
        ("pretrain", {"corpus"}),
        ("sft", {"problems", "cot", "tir", "policy"}),
        ("reward_model", {"problems", "responses", "policy"}),
        ("grpo", {"problems", "policy", "reward_model"}),
    ],
)
def test_a_task_calls_its_recipe_as_it_wants_to_be_called(
    recipe: Any, inputs: set[str], tmp_path: Path
) -> None:
    module = importlib.import_module(f"mathloop.training.{recipe}")
    paths = {name: tmp_path / name for name in inputs}
    arguments = training_node.arguments_of(recipe, paths, tmp_path / "model", tmp_path / "rollouts")
    inspect.signature(module.run).bind(**arguments, work=tmp_path, config=None, seed=3)


def test_a_wrong_task_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(train_job_spec.TASK_VARIABLE, '{"recipe": "dpo"}')
    with pytest.raises(SystemExit) as ended:
        training_node.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "mathloop: error: MATHLOOP_TRAINING_TASK: recipe: input should be 'pretrain', 'sft'"
    )
    assert line.endswith("; launch the step again")


def test_the_component_hands_over_what_the_pipeline_connects() -> None:
    from components.train_job import train_job

    taken = set(train_job.component_spec.inputs)
    wanted: Callable[[str], set[str]] = lambda recipe: set(  # noqa: E731
        inspect.signature(__import__(f"mathloop.training.{recipe}", fromlist=["run"]).run).parameters
    )
    for recipe in training_node.CONFIGS:
        assert (
            wanted(recipe) - {"model", "work", "config", "seed", "responses", "rollouts", "dropped"} <= taken
        )
