"""The trackers: a table. A new one is a module with `send`, one line here and a setting that turns it on.

Each sends in a process of its own, which ends at its deadline: a server that is dead, a library that waits or
breaks never stops a round.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from mathloop.stages import StageReport
from mathloop.tracking.config import TrackingConfig
from mathloop.tracking.tracked import Tracked

SINKS = {"mlflow": "mathloop.tracking.mlflow_sink", "wandb": "mathloop.tracking.wandb_sink"}
"""Setting → module whose `send(config, tracked)` sends a round and returns where it is."""
_OFF = ("", "off")
_LONGEST = 300


def is_on(config: TrackingConfig) -> bool:
    """Whether any tracker is asked for."""
    return any(getattr(config, name) not in _OFF for name in SINKS)


def track(config: TrackingConfig, tracked: Tracked) -> StageReport:
    """Sends a round to the trackers that are on; raises nothing. Notes say where it is, or why not."""
    report = StageReport("tracking")
    for name in SINKS:
        if getattr(config, name) in _OFF:
            continue
        report.inputs += 1
        try:
            reason = _sent(name, config, tracked, report)
        except Exception as error:
            reason = _line(str(error)) or type(error).__name__
        if reason is not None:
            report.dropped[f"{name} did not take the round"] = 1
            note = f"warning: {name} did not take the round, which goes on without it: {reason}"
            report.notes.append(note)
            print(f"mathloop: {note}", file=sys.stderr, flush=True)
    return report


def _sent(name: str, config: TrackingConfig, tracked: Tracked, report: StageReport) -> str | None:
    """Sends it in a process; returns why it failed, or None."""
    written = json.dumps({"config": config.model_dump(), "tracked": asdict(tracked)})
    process = subprocess.Popen(
        [sys.executable, "-m", "mathloop.tracking.sinks", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,  # the library's own processes end with it
    )
    try:
        said, _ = process.communicate(written, timeout=config.seconds)
    except subprocess.TimeoutExpired:
        return f"no answer within {config.seconds} s (tracking.seconds)"
    finally:
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        process.wait()
    last = _line(said.strip().rpartition("\n")[2])
    if process.returncode:
        return last or f"exit code {process.returncode}"
    report.kept += 1
    report.notes.append(f"{name}: {last}")
    return None


def _line(text: str) -> str:
    return " ".join(text.split())[:_LONGEST]


def _main() -> int:
    """In the process of one tracker: reads what to send; the last line that it prints is the outcome."""
    content: dict[str, Any] = json.load(sys.stdin)
    try:
        send = importlib.import_module(SINKS[sys.argv[1]]).send
        print(f"\n{send(content['config'], Tracked(**content['tracked']))}", flush=True)
    except BaseException as error:
        print(f"\n{_line(str(error)) or type(error).__name__}", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main())
