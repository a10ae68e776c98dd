"""Experiment trackers: scores and curves arrive once, logins come from the environment, failures are a line.

The server of most tests is a stand-in (`fake_mlflow`); where MLflow is installed, its own server and client
say the same.
"""

from __future__ import annotations

import importlib.util
import math
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from mathloop.stages import StageReport
from mathloop.tracking import mlflow_sink
from mathloop.tracking.config import TrackingConfig
from mathloop.tracking.sinks import is_on, track
from mathloop.tracking.tracked import Tracked, stage_numbers
from tests.paths import ROOT
from tests.unit.tracking.fake_mlflow import FakeMlflow, serving

STAGES = [
    StageReport(
        "sft",
        3.0,
        kept=7,
        dropped={"wrong": 2},
        values={"loss": 0.5, "broken": math.nan},
        curves={"loss": [(step, 1 / step) for step in range(1, 1200)], "calibration": [(0.5, 1.0)]},
    ),
    StageReport("grpo", curves={"tokens/s": [(1, 2.0), (2, math.inf)]}),
]
NUMBERS, CURVES = stage_numbers(STAGES)
SETTINGS = {"grpo.steps": "3", "long": "x" * 9000, **{f"key{n}": "" for n in range(150)}}
ROUND = Tracked("r-1", SETTINGS, {**NUMBERS, "challenger/cot/maj@8": 0.75}, CURVES)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeMlflow]:
    with serving() as fake:
        yield fake


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackers run in processes of their own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def send(url: str, project: str, tracked: Tracked = ROUND) -> str:
    return mlflow_sink.send({"mlflow": url, "project": project}, tracked)


def test_numbers_and_curves_of_stages_are_finite_and_over_steps() -> None:
    assert NUMBERS["sft/kept"] == 7
    assert NUMBERS["sft/dropped"] == 2
    assert NUMBERS["sft/loss"] == 0.5
    assert "sft/broken" not in NUMBERS
    assert {"sft/loss": STAGES[0].curves["loss"], "grpo/tokens per s": [(1.0, 2.0)]} == CURVES


def test_mlflow_has_every_score_and_point_once(server: FakeMlflow) -> None:
    track(TrackingConfig(mlflow=server.url + "/", project="once & more"), ROUND)
    (run,) = server.runs
    assert (run["experiment_id"], run["run_name"]) == (server.experiments["once & more"], "r-1")
    assert run["info"]["status"] == "FINISHED"
    points = {(one["key"], one["step"]): one["value"] for one in run["metrics"]}
    assert len(points) == len(run["metrics"]) == len(ROUND.scores) + 1199 + 1
    assert points["challenger/cot/maj_at_8", 0] == 0.75
    assert points["sft/loss", 1199] == 1 / 1199
    assert run["params"]["grpo.steps"] == "3"
    assert len(run["params"]) == 152
    assert "sent before" in send(server.url, "once & more")
    assert len(server.runs) == 1
    run["info"]["status"] = "RUNNING"  # as after a kill
    send(server.url, "once & more")
    assert [one["deleted"] for one in server.runs] == [True, False]


def test_logins_are_of_the_environment_alone(server: FakeMlflow, monkeypatch: pytest.MonkeyPatch) -> None:
    server.logins.clear()
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ann")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pass")
    send(server.url, "p", Tracked("r-2", {}, {}))
    assert server.logins == {"Basic YW5uOnBhc3M="}
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "secret")
    send(server.url, "p", Tracked("r-3", {}, {}))
    assert "Bearer secret" in server.logins
    for url in (
        "http://ann:pass@host",
        "http://host?key=secret",
        "host:5000",
        "file:///runs",
        "http://",
        "http://a b",
    ):
        with pytest.raises(ValidationError, match=r"expected a (server|URL)"):
            TrackingConfig(mlflow=url)


def test_a_dead_or_foreign_server_is_one_line(server: FakeMlflow, capfd: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        report = track(TrackingConfig(mlflow=url, seconds=2), ROUND)
    assert report.dropped == {"mlflow did not take the round": 1}
    line = "mlflow did not take the round, which goes on without it: no answer within 2 s (tracking.seconds)"
    assert report.notes == [f"warning: {line}"]
    assert capfd.readouterr().err == f"mathloop: warning: {line}\n"
    report = track(TrackingConfig(mlflow=url), ROUND)
    assert "cannot be reached: [Errno 111] Connection refused" in report.notes[0]
    with pytest.raises(ValueError, match="HTTP 400: Invalid value"):
        mlflow_sink._Server(server.url).call(
            "runs/log-batch", run_id=_begun(server), params=[{"key": "a@b", "value": ""}]
        )


def _begun(server: FakeMlflow) -> str:
    return str(server.answer("runs/create", {}, {"tags": [{"value": "x"}]})["run"]["info"]["run_id"])


def test_nothing_is_sent_unless_asked_for() -> None:
    assert not is_on(TrackingConfig())
    report = track(TrackingConfig(), ROUND)
    assert (report.inputs, report.notes) == (0, [])


@pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="the package wandb is not installed")
def test_wandb_offline_has_scores_and_curves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    report = track(TrackingConfig(wandb="offline"), ROUND)
    assert report.kept == 1, report.notes
    (written,) = (tmp_path / "wandb").glob("offline-run-*/run-r-1.wandb")
    data = written.read_bytes()
    for name in (b"sft/loss", b"challenger/cot/maj@8", b"grpo.steps"):
        assert name in data
    for name in (sys.executable, str(tmp_path)):
        assert name.encode() not in data, "nothing of the machine goes along"


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_wandb_that_is_not_installed_is_one_line() -> None:
    (note,) = track(TrackingConfig(wandb="offline"), ROUND).notes
    assert note.endswith("the package wandb is not installed: pip install 'mathloop[tracking]'")


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mlflow") is None, reason="the package mlflow is not installed")
def test_a_real_server_holds_the_round_as_its_own_client_reads_it(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{tmp_path}/runs.db"]
    with subprocess.Popen(command, cwd=tmp_path) as process:
        try:
            client: Any = _client(f"http://127.0.0.1:{port}")
            report = track(TrackingConfig(mlflow=f"http://127.0.0.1:{port}"), ROUND)
            assert report.kept == 1, report.notes
            experiment = client.get_experiment_by_name("mathloop")
            (run,) = client.search_runs([experiment.experiment_id])
            assert (run.info.run_name, run.info.status) == ("r-1", "FINISHED")
            assert run.data.metrics["challenger/cot/maj_at_8"] == 0.75
            assert run.data.params["grpo.steps"] == "3"
            history = client.get_metric_history(run.info.run_id, "sft/loss")
            assert sorted(one.step for one in history if one.step) == list(range(1, 1200))
        finally:
            process.terminate()


def _client(url: str) -> Any:
    from mlflow.tracking import MlflowClient

    client = MlflowClient(url)
    for _ in range(240):
        try:
            with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))):
                return client
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server did not start")
