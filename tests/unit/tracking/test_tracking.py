"""Experiment trackers: scores and curves arrive once, logins come from the environment, failures are a line.

The server is a stand-in (`fake_mlflow`); in test_tracking_rounds.py it is MLflow's own.
"""

from __future__ import annotations

import importlib.util
import math
import socket
from collections.abc import Iterator

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
    StageReport("selection", curves={"problems by right samples": [(0, 3.0), (1, 4.0)]}),
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
    assert NUMBERS["sft/loss at the end"] == 0.5, "not one more point of the curve"
    assert "sft/loss" not in NUMBERS
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


@pytest.mark.skipif(importlib.util.find_spec("wandb") is not None, reason="wandb is installed")
def test_wandb_that_is_not_installed_is_one_line() -> None:
    (note,) = track(TrackingConfig(wandb="offline"), ROUND).notes
    assert note.endswith("the package wandb is not installed: pip install 'mathloop[tracking]'")
