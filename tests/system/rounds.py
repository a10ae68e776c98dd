"""Whole rounds as a user runs them: the command, its output, and what it left in the run's folder."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mathloop.reports.summary import read_summary
from mathloop.stages import StageReport


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """Starts `mathloop …` in `folder`."""
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines.cli", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@dataclass(frozen=True)
class Outcome:
    """What a command that ended said."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def table(self) -> str:
        """The printed table of scores, without what stands around it."""
        lines = self.stdout.splitlines()
        ends = [number for number, line in enumerate(lines) if "promoted" in line]
        before = ("[", "total time")
        begins = [number for number, line in enumerate(lines[: ends[-1]]) if line.startswith(before)]
        return "\n".join(lines[begins[-1] + 1 : ends[-1]]).strip()


def finish(process: subprocess.Popen[str], seconds: float = 280) -> Outcome:
    started = time.monotonic()
    stdout, stderr = process.communicate(timeout=seconds)
    return Outcome(process.returncode, stdout, stderr, time.monotonic() - started)


def only_run(folder: Path) -> Path:
    """The one run of a folder."""
    (run,) = (file.parent for file in (folder / "runs").glob("*/run.json"))
    return run


def artifact(run: Path, stage: str, name: str) -> Any:
    """A JSON artifact of a stage."""
    return json.loads((run / "stages" / stage / name).read_text(encoding="utf-8"))


def summaries(run: Path, stage: str) -> list[StageReport]:
    """The reports in a stage's summary: those that it carries, then its own."""
    return read_summary(run / "stages" / stage / "summary")


def wait_until_begun(folder: Path, stage: str, process: subprocess.Popen[str], seconds: float = 120) -> Path:
    """Waits until a stage of the folder's only run has begun, and returns that run."""
    deadline = time.monotonic() + seconds
    while not (begun := list(folder.glob(f"runs/*/stages/{stage}/log.txt"))):
        assert process.poll() is None, f"ended before {stage} began"
        assert time.monotonic() < deadline, f"{stage} did not begin"
        time.sleep(0.01)
    return begun[0].parents[2]
