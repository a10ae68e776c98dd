"""The view of a run: a table on a terminal, plain lines in a file."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from pipelines.local import view as views
from pipelines.local.view import View

PROGRESS = {"stage": "sft", "done": 12, "total": 40, "unit": "steps", "seconds": 3.0}


def _console(terminal: bool) -> tuple[Console, io.StringIO]:
    shown = io.StringIO()
    return Console(file=shown, force_terminal=terminal, width=100, height=40, _environ={}), shown


def test_plain_lines_say_each_change_once() -> None:
    console, shown = _console(terminal=False)
    with View("run 1", ["preflight", "sft", "gate"], console) as view:
        view.finish("preflight", 1.5, replayed=True)
        view.start("sft")
        for _ in range(50):
            view.tick(PROGRESS)
        view.finish("sft", 12.25)
        view.start("gate")
        view.fail("gate", 0.5)
    lines = shown.getvalue().splitlines()
    assert lines[0] == "run 1"
    assert [line.split()[2:4] for line in lines[1:-1]] == [
        ["preflight", "kept"],
        ["sft", "running"],
        ["sft", "done"],
        ["gate", "running"],
        ["gate", "failed"],
    ]
    assert lines[1].endswith("1.5 s  from an earlier attempt")
    assert lines[3].endswith("12.2 s  12/40 steps")
    assert re.fullmatch(r"total time [0-9.]+ s, and 1\.5 s in earlier attempts", lines[-1])
    assert "\x1b" not in shown.getvalue()


def test_long_stages_report_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "PLAIN", 0.0)
    console, shown = _console(terminal=False)
    with View("run 1", ["sft"], console) as view:
        view.start("sft")
        view.tick({**PROGRESS, "done": 1200, "total": None, "tokens_per_second": 91234, "loss": 1.23456})
        view.tick({**PROGRESS, "seconds_left": 200.0})
    *_, first, second, _total = shown.getvalue().splitlines()
    assert first.endswith("1,200 steps · 91,234 tokens/s · loss 1.235")
    assert second.endswith("12/40 steps · about 3 min 20 s left")


def test_a_terminal_shows_every_stage_with_state_and_speed() -> None:
    console, shown = _console(terminal=True)
    with View("run 1", ["preflight", "sft", "gate"], console) as view:
        view.finish("preflight", 1.5)
        view.start("sft")
        view.tick({**PROGRESS, "tokens_per_second": 9120})
    last = shown.getvalue().rpartition("run 1")[2]
    for text in ("✓", "preflight", "1.5", "▸", "sft", "12/40 steps · 9,120 tokens/s", "·", "gate"):
        assert text in last
