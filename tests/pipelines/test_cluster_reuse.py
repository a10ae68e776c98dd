"""What a round on a cluster reuses of earlier ones: all that is the same and still there, nothing else."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from minio import Minio

from components.champion import champion
from components.preflight import preflight
from components.problems import problems
from mathloop.cluster import preflight as stage
from mathloop.cluster import reuse
from mathloop.registry import Registry
from mathloop.reports.summary import read_summary
from mathloop.storage import open_store
from pipelines import compiling
from pipelines.profile import load_profile
from pipelines.table import find_pipeline
from tests import fake_driver
from tests.fake_driver import FakeDriver

pytestmark = pytest.mark.slow

REAL = {
    "preflight": preflight.python_func,
    "champion": champion.python_func,
    "problems": problems.python_func,
}
ALWAYS = {"preflight", "judgment", "deployment"}
"""What runs in every round: they deal with the store or the cluster."""

Go = Callable[..., dict[str, str]]


@pytest.fixture
def store(s3: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A store with champion 0, in the environment that a pod finds."""
    url = f"s3://mathloop/store-{uuid.uuid4().hex}"
    monkeypatch.setenv(reuse.LEDGER_VARIABLE, url)
    monkeypatch.setenv(reuse.ENDPOINT_VARIABLE, s3.endpoint)
    monkeypatch.setenv("MATHLOOP_ARTIFACTS_KEY", s3.environment()["AWS_ACCESS_KEY_ID"])
    monkeypatch.setenv("MATHLOOP_ARTIFACTS_SECRET", s3.environment()["AWS_SECRET_ACCESS_KEY"])
    monkeypatch.setenv("MATHLOOP_CODE_VERSION", "code-1")
    monkeypatch.setattr(stage, "installed_code", lambda: "installed-1")
    promote(url, tmp_path, 0)
    return url


def promote(url: str, folder: Path, number: int) -> None:
    model = folder / f"model-{number}"
    model.mkdir()
    (model / "weights").write_text(f"weights {number}")
    store = open_store(url)
    store.publish(model, f"rounds/r{number}/policy")
    registry = Registry(store)
    registry.promote(
        f"rounds/r{number}/policy",
        None,
        round_id=f"r{number}",
        expected=registry.current(),
        base="rounds/r0/policy",
        metrics={},
    )


def drive(name: str, s3: Any, tmp_path: Path, profile: str = "tiny") -> FakeDriver:
    compiling.compile_one(find_pipeline(name), tmp_path / f"{name}.yaml", load_profile(profile))
    keys = s3.environment()
    client = Minio(
        s3.endpoint.removeprefix("http://"),
        keys["AWS_ACCESS_KEY_ID"],
        keys["AWS_SECRET_ACCESS_KEY"],
        secure=False,
        region="us-east-1",
    )
    root = f"kfp-{uuid.uuid4().hex}/v2/artifacts/{name}"
    return FakeDriver(tmp_path / f"{name}.yaml", client, "mathloop", root, tmp_path / "pods", REAL)


@pytest.fixture
def driver(store: str, s3: Any, tmp_path: Path) -> FakeDriver:
    return drive("improvement-round", s3, tmp_path)


@pytest.fixture
def go(driver: FakeDriver, store: str, monkeypatch: pytest.MonkeyPatch) -> Go:
    """Runs a round of this id; task → `ran` or `cached`."""

    def go(run_id: str, **given: Any) -> dict[str, str]:
        return driver.run(run_id, monkeypatch, store=store, **{"seed": 0} | given)

    return go


def ran(told: dict[str, str]) -> set[str]:
    return {name for name, how in told.items() if how == "ran"}


def noted(driver: FakeDriver, run_id: str, tmp_path: Path) -> list[str]:
    """What the preflight of a run said."""
    (summary,) = [
        driver.local(key, run_id)
        for key in driver.artifacts
        if f"/{run_id}/preflight/" in key and key.endswith("summary")
    ]
    return read_summary(summary)[-1].notes


def test_a_round_that_is_run_again_runs_only_what_it_must(go: Go) -> None:
    first = go("r1")
    assert ran(first) == set(first)
    assert len(first) == 14
    assert ran(go("r2")) == ALWAYS
    # Another setting runs its own stage anew and what depends on it.
    assert ran(go("r3", overrides='{"evaluation": {"samples": 4}}')) == {*ALWAYS, "evaluation"}


@pytest.mark.parametrize("what", ["code", "image", "champion", "seed", "problems"])
def test_what_kfp_does_not_see_runs_everything_anew(
    go: Go, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    file = tmp_path / "problems.jsonl"
    rows = [{"problem": f"What is {n} + 1?", "answer": str(n + 1)} for n in range(40)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = '{"problems": {"train": 10, "benchmark": 5}}'
    given: dict[str, Any] = {"problems": str(file), "overrides": overrides}
    first = go("r1", **given)
    assert ran(go("r2", **given)) == ALWAYS
    if what == "code":
        monkeypatch.setenv("MATHLOOP_CODE_VERSION", "code-2")
    elif what == "image":  # built anew under its old name
        monkeypatch.setattr(stage, "installed_code", lambda: "installed-2")
    elif what == "champion":
        promote(store, tmp_path, 1)
    elif what == "seed":
        given["seed"] = 7
    else:
        file.write_text(file.read_text() + json.dumps(rows[0]) + "\n")
    assert ran(go("r3", **given)) == set(first)


@pytest.mark.parametrize("lost", ["champion", "grpo"])
def test_an_artifact_that_is_gone_is_made_again_and_said(
    go: Go, driver: FakeDriver, tmp_path: Path, lost: str
) -> None:
    first = go("r1")
    assert ran(go("r2")) == ALWAYS
    folder = f"{driver.root}/r1/{lost}"
    gone = [key for key in driver.stored(folder) if not key.endswith("summary")]
    assert gone
    driver.client.remove_object(driver.bucket, gone[0])
    assert ran(go("r3")) == set(first)
    (note,) = [note for note in noted(driver, "r3", tmp_path) if "was deleted" in note]
    assert f"minio://mathloop/{gone[0]} was deleted; results of earlier runs are not reused" in note
    # From here on there is something to reuse again.
    assert ran(go("r4")) == ALWAYS
    assert not [note for note in noted(driver, "r4", tmp_path) if "was deleted" in note]


def test_without_the_look_a_round_would_fail_late(
    go: Go, driver: FakeDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What KFP does by itself, and so what its stand-in has to do."""
    go("r1")
    (gone,) = [key for key in driver.artifacts if "/reward-data/" in key and key.endswith("/responses")]
    driver.client.remove_object(driver.bucket, gone)
    monkeypatch.setattr(reuse, "_lost", lambda store, run: None)
    with pytest.raises(FileNotFoundError, match="reward_model has lost its input responses"):
        go("r2", overrides='{"reward_model": {"epochs": 3}}')


def test_a_bucket_that_cannot_be_looked_at_is_not_trusted(
    go: Go, driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = go("r1")
    monkeypatch.setenv("MATHLOOP_ARTIFACTS_SECRET", "another")
    assert ran(go("r2")) == set(first)
    (note,) = [note for note in noted(driver, "r2", tmp_path) if "are not reused" in note]
    assert "check MATHLOOP_ARTIFACTS_KEY, MATHLOOP_ARTIFACTS_SECRET" in note


def test_a_ledger_that_was_damaged_is_not_trusted(
    go: Go, store: str, driver: FakeDriver, tmp_path: Path, s3: Any
) -> None:
    first = go("r1")
    below = store.removeprefix("s3://mathloop/")
    keys = [one.object_name for one in driver.client.list_objects("mathloop", below, recursive=True)]
    logs = [key for key in keys if "/made/" in key]
    driver.client.put_object("mathloop", logs[3], io.BytesIO(b'{"files": 3}'), 12)
    assert ran(go("r2")) == set(first)
    (note,) = [note for note in noted(driver, "r2", tmp_path) if "are not reused" in note]
    assert "has no 'files'" in note


def test_a_round_that_broke_off_is_gone_on_with(go: Go, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend = fake_driver.pretend

    def breaks(name: str, executor_input: Any) -> None:
        if name == "grpo":
            raise RuntimeError("the node is gone")
        pretend(name, executor_input)

    with monkeypatch.context() as patch:
        patch.setattr(fake_driver, "pretend", breaks)
        with pytest.raises(RuntimeError, match="the node is gone"):
            go("r1")
    told = ran(go("r2"))
    assert told == {*ALWAYS, "grpo", "evaluation"}


def test_a_first_model_is_reused_too(
    s3: Any, store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = drive("pretraining", s3, tmp_path)
    empty = f"s3://mathloop/store-{uuid.uuid4().hex}"
    first = driver.run("r1", monkeypatch, store=empty, seed=0)
    again = driver.run("r2", monkeypatch, store=empty, seed=0)
    assert ran(first) == {"preflight", "corpus", "pretrain", "base-publication"}
    assert ran(again) == {"preflight", "base-publication"}
    driver.client.remove_object(
        driver.bucket, next(key for key in driver.artifacts if key.endswith("/corpus"))
    )
    assert ran(driver.run("r3", monkeypatch, store=empty, seed=0)) == set(first)


@pytest.mark.parametrize("uri", ["gs://bucket/v2/p/r/t/1/summary", "/minio/x", ""])
def test_artifacts_that_are_not_in_s3_are_not_reused(store: str, uri: str) -> None:
    key, notes = reuse.cache_key({"seed": 1}, f"{uri}1")
    other, _ = reuse.cache_key({"seed": 1}, f"{uri}2")
    assert key != other
    assert "are not reused" in notes[0]


def test_on_one_machine_there_is_no_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(reuse.LEDGER_VARIABLE, raising=False)
    key, notes = reuse.cache_key({"seed": 1}, "runs/r1/stages/preflight/summary")
    assert notes == []
    assert key == reuse.cache_key({"seed": 1}, "elsewhere")[0]
    assert key != reuse.cache_key({"seed": 2}, "elsewhere")[0]


def test_a_store_that_does_not_answer_loses_a_note_and_not_the_work(
    own_s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(reuse.LEDGER_VARIABLE, "s3://mathloop/store")
    own_s3.kill()
    (tmp_path / "summary").write_text("{}")
    reuse.remember("minio://mathloop/v2/p/r/t/1/summary", tmp_path / "summary", ["summary"])
    assert "could not record this task's outputs for reuse" in capsys.readouterr().err
