"""A step of a run that waits for a job, in a process that can be killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

from mathloop.cluster import job_pods
from mathloop.retrying import PATIENCE_VARIABLE
from tests.cluster.real_cluster import until
from tests.paths import ROOT


class Launching:
    """The process; its output is read all the time."""

    def __init__(self, module: str, *arguments: str, **environment: str) -> None:
        """Runs `python -m tests.cluster.<module> ARGUMENTS`."""
        ours = {"PYTHONPATH": str(ROOT), PATIENCE_VARIABLE: job_pods.STORE_PATIENCE}
        self.process = subprocess.Popen(
            [sys.executable, "-m", f"tests.cluster.{module}", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=ROOT,
            env={**os.environ, **ours, **environment},
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))

    def said(self, text: str, seconds: float = 600) -> str:
        """The first line with this text; fails where the launcher ends without it."""

        def look() -> str | None:
            found = next((line for line in self.lines if text in line), None)
            assert found or self.process.poll() is None, "\n".join(self.lines)
            return found

        return until(f"a line with {text!r}", seconds, look)

    def end(self, seconds: float = 900) -> tuple[int, str]:
        """Exit code and output."""
        code = self.process.wait(seconds)
        self._reader.join(60)
        return code, "\n".join(self.lines)
