"""Metrics as they are written while training runs."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mathloop.errors import BadConfig
from mathloop.training.metrics_log import MetricsLog


def rows(work: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (work / "metrics.jsonl").read_text("utf-8").splitlines()]


def test_each_step_is_a_line_at_once(tmp_path: Path) -> None:
    log = MetricsLog(tmp_path / "work", tensorboard=False)
    for step in range(3):
        log.write(step, {"loss": 1.5 - step, "KL": 0.0})
        assert rows(tmp_path / "work")[-1] == {"step": step, "loss": 1.5 - step, "KL": 0.0}
    log.close()
    assert len(rows(tmp_path / "work")) == 3


def test_a_new_attempt_begins_with_the_steps_of_the_checkpoint(tmp_path: Path) -> None:
    first = MetricsLog(tmp_path, tensorboard=False)
    for step in range(5):
        first.write(step, {"loss": 1.0})
    again = MetricsLog(tmp_path, tensorboard=False)
    again.restore({"loss": [(0.0, 3.0), (1.0, 2.0)], "gradient norm": [(1.0, 0.5)]})
    again.write(2, {"loss": 1.0})
    assert rows(tmp_path) == [
        {"step": 0, "loss": 3.0},
        {"step": 1, "loss": 2.0, "gradient norm": 0.5},
        {"step": 2, "loss": 1.0},
    ]


def test_tensorboard_that_is_not_installed_is_said_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BadConfig, match=r"engine\.tensorboard .* pip install tensorboard, or set"):
        MetricsLog(tmp_path, tensorboard=True)


def test_tensorboard_gets_every_step_once_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that shows what TensorBoard would: `purge_step` drops what other files have from there on."""
    shown: dict[tuple[str, int], float] = {}
    written: list[tuple[str, float, int]] = []

    class SummaryWriter:
        def __init__(self, folder: str, purge_step: int | None = None) -> None:
            assert folder == str(tmp_path / "tensorboard")
            if purge_step is not None:
                written[:] = [entry for entry in written if entry[2] < purge_step]

        def add_scalar(self, name: str, value: float, step: int) -> None:
            written.append((name, value, step))
            shown[name, step] = value

        def close(self) -> None:
            pass

    module: Any = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = SummaryWriter
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    first = MetricsLog(tmp_path, tensorboard=True)
    for step in range(5):
        first.write(step, {"loss": 1.0})
    again = MetricsLog(tmp_path, tensorboard=True)
    again.restore({"loss": [(0.0, 3.0), (1.0, 2.0)]})
    again.write(2, {"loss": 1.0})
    again.close()
    assert written == [("loss", 3.0, 0), ("loss", 2.0, 1), ("loss", 1.0, 2)]


@pytest.mark.skipif(
    importlib.util.find_spec("tensorboard") is None, reason="the package tensorboard is not installed"
)
def test_tensorboard_itself_reads_the_curves(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for _ in range(2):
        log = MetricsLog(tmp_path, tensorboard=True)
        for step in range(4):
            log.write(step, {"loss": 1.0 + step})
        log.close()
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(s, 1.0 + s) for s in range(4)]
