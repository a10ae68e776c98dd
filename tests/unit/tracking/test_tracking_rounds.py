"""A judged round and a first model in MLflow's own server and in wandb's offline file, and with both dead.

The real ones are asked by `make test-tracking`: MLflow's pins clash with those of the project's environment.
"""

from __future__ import annotations

import importlib.util
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mathloop.registry import Registry
from mathloop.reports import first_model
from mathloop.reports.summary import write_summary
from mathloop.stages import StageReport
from mathloop.storage import open_store
from mathloop.tracking.config import TrackingConfig
from tests.paths import ROOT
from tests.unit.reports.conftest import Round
from tests.unit.reports.test_reports_judgment import judge

LOSS = [(step, 3 / step) for step in range(1, 1200)]
KL = [(1, 0.01), (2, 0.02)]
LEARNING = [StageReport("grpo", 3.0, kept=7, values={"loss": 0.5}, curves={"loss": LOSS, "KL": KL})]


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trackers run in processes of their own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def pretrained(folder: Path, tracking: TrackingConfig) -> list[StageReport]:
    """Publishes a first model whose training has a curve."""
    folder.mkdir()
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_text("w")
    write_summary([StageReport("pretrain", 9.0, kept=5, curves={"loss": LOSS})], folder / "pretrain")
    return first_model.run(
        store_url=str(folder / "store"),
        model=folder / "model",
        round_id="round-1-pretraining",
        out=folder / "published",
        summaries=[folder / "pretrain"],
        configuration='{"pretrain": {"steps": 1199}}',
        tracking=tracking,
    )


def test_dead_trackers_stop_neither_a_round_nor_a_first_model(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    dead = TrackingConfig(mlflow="http://127.0.0.1:1")
    *reports, tracking = judge(Round(tmp_path, count=60), tmp_path, tracking=dead, learning=LEARNING)
    assert [report.stage for report in reports] == ["gate", "publication", "report"]
    assert tracking.dropped == {"mlflow did not take the round": 1}
    assert "Connection refused" in tracking.notes[0]
    assert "Promoted: champion 1" in (tmp_path / "page").read_text()
    published, tracking = pretrained(tmp_path / "first", dead)
    assert published.kept == 1
    assert tracking.dropped == {"mlflow did not take the round": 1}
    assert len(Registry(open_store(str(tmp_path / "first" / "store"))).history()) == 1
    assert capfd.readouterr().err.count("which goes on without it") == 2


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("mlflow") is None, reason="MLflow is not installed: make test-tracking"
)
def test_a_real_server_holds_scores_and_curves_as_its_own_client_reads_them(tmp_path: Path) -> None:
    with mlflow_server(tmp_path) as (url, client):
        tracking = TrackingConfig(mlflow=url)
        made = Round(tmp_path, count=60)
        *_, sent = judge(made, tmp_path, tracking=tracking, learning=LEARNING)
        assert sent.kept == 1, sent.notes
        _, sent = pretrained(tmp_path / "first", tracking)
        assert sent.kept == 1, sent.notes
        experiment = client.get_experiment_by_name("mathloop")
        runs = {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}
        assert {name: run.info.status for name, run in runs.items()} == {
            "round-1": "FINISHED",
            "round-1-pretraining": "FINISHED",
        }
        metrics = runs["round-1"].data.metrics
        for mode in ("cot", "tir"):
            for metric in ("greedy", "mean_at_8", "maj_at_8", "rm_at_8", "pass_at_8"):
                assert (
                    0 < metrics[f"base/{mode}/{metric}"] < metrics[f"challenger/{mode}/{metric}"] + 0.2 < 1.2
                )
        assert (metrics["gate/promoted"], metrics["grpo/kept"]) == (1, 7)
        assert runs["round-1-pretraining"].data.params["pretrain.steps"] == "1199"
        for name, key, curve in (
            ("round-1", "grpo/loss", LOSS),
            ("round-1", "grpo/KL", KL),
            ("round-1-pretraining", "pretrain/loss", LOSS),
        ):
            history = client.get_metric_history(runs[name].info.run_id, key)
            assert sorted((one.step, one.value) for one in history) == curve, key


@contextmanager
def mlflow_server(folder: Path) -> Iterator[tuple[str, Any]]:
    """(URL, client) of MLflow's own server, which keeps its runs in a database in `folder`."""
    from mlflow.tracking import MlflowClient

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db"]
    with subprocess.Popen(command, cwd=folder) as process:
        try:
            wait_for(port, process)
            yield f"http://127.0.0.1:{port}", MlflowClient(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    raise AssertionError("the server did not start")


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("wandb") is None, reason="wandb is not installed: make test-tracking"
)
def test_a_real_wandb_has_scores_and_curves_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tracking = TrackingConfig(wandb="offline")
    *_, sent = judge(Round(tmp_path, count=60), tmp_path, tracking=tracking, learning=LEARNING)
    assert sent.kept == 1, sent.notes
    _, sent = pretrained(tmp_path / "first", tracking)
    assert sent.kept == 1, sent.notes
    curves = {
        "round-1": {"grpo/loss": LOSS, "grpo/KL": KL},
        "round-1-pretraining": {"pretrain/loss": LOSS},
    }
    summaries = {}
    for run, wanted in curves.items():
        (written,) = (tmp_path / "wandb").glob(f"offline-run-*/run-{run}.wandb")
        found, summaries[run] = read_wandb(written)
        assert {name: found[name] for name in wanted} == wanted
        for name in (sys.executable, str(tmp_path)):
            assert name.encode() not in written.read_bytes(), "nothing of the machine goes along"
    assert 0 < summaries["round-1"]["base/cot/greedy"] < summaries["round-1"]["challenger/cot/greedy"] <= 1
    assert summaries["round-1"]["gate/promoted"] == 1
    assert summaries["round-1-pretraining"]["pretrain/kept"] == 5


def read_wandb(path: Path) -> tuple[dict[str, list[tuple[int, float]]], dict[str, Any]]:
    """(curves, summary) of a run that wandb wrote: its records in the blocks of LevelDB's log."""
    from wandb.proto.wandb_internal_pb2 import Record

    curves: dict[str, list[tuple[int, float]]] = {}
    summary: dict[str, Any] = {}
    data, place, written = path.read_bytes(), 7, b""
    while place + 7 <= len(data):
        if (left := 32768 - place % 32768) < 7:
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", data, place)
        written += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind not in (1, 4):  # whole, or the last part
            continue
        record, written = Record.FromString(written), b""
        row = {".".join(one.nested_key) or one.key: json.loads(one.value_json) for one in record.history.item}
        for name, value in row.items():
            if "/" in name and not name.endswith("/step"):
                step = row[f"{name.partition('/')[0]}/step"]
                curves.setdefault(name, []).append((step, value))
        for one in record.summary.update:
            summary[".".join(one.nested_key) or one.key] = json.loads(one.value_json)
    return curves, summary
