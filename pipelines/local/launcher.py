"""Starts and stops stages; the client of `pipelines.local.stage`."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

GRACE = 5.0
"""Seconds that a stage has to exit after SIGTERM."""
SPINS = "5000"
"""Spin count of torch's OpenMP threads. The default is so high that a small model trains ten times slower as
soon as another process keeps one core busy; on idle cores the value makes no difference."""


class Launcher:
    """Owns the process that stages are forked from. Use as a context manager; one stage at a time."""

    def __enter__(self) -> Launcher:
        environment = {
            "GOMP_SPINCOUNT": SPINS,
            "TQDM_DISABLE": "1",  # other libraries' progress bars make logs unreadable
            **os.environ,
            "_KFP_RUNTIME": "true",  # kfp then does not import its compiler and client
            "PYTHONUNBUFFERED": "1",
            "PYTHONHASHSEED": "0",
        }
        self._server = subprocess.Popen(
            [sys.executable, "-m", "pipelines.local.stage", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C only reaches us, and we stop the stage and its children
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._server.kill()
        self._server.communicate()

    def start(self, folder: Path, function: str, environment: dict[str, str]) -> Process:
        """Starts the component function of a stage's folder."""
        assert self._server.stdin
        assert self._server.stdout
        request = {"folder": str(folder), "function": function, "environment": environment}
        with suppress(BrokenPipeError):  # `_answer` reports it
            os.write(self._server.stdin.fileno(), json.dumps(request).encode() + b"\n")
        return Process(self._server.stdout.fileno())


class Process:
    """A running stage."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._pid: int | None = None
        self._buffer = b""
        self.error: str | None = None
        """The error message, if the stage failed with a UserError."""
        self.peak = 0
        """Bytes that it had resident at most, once it has ended; 0 if nobody knows."""
        self.cpu_seconds = 0.0
        """CPU time that it and its children took, once it has ended."""

    def wait(self, seconds: float) -> int | None:
        """The exit code as in `subprocess`; None if the stage still runs after `seconds`."""
        deadline = time.monotonic() + seconds
        while (answer := self._answer(deadline - time.monotonic())) is not None:
            if "exit_code" in answer:
                self.peak = int(answer.get("peak", 0))
                self.cpu_seconds = int(answer.get("cpu", 0)) / 1000
                return int(answer["exit_code"])
            self._pid = answer.get("pid", self._pid)
            self.error = answer.get("error")
        return None

    def stop(self) -> None:
        """Stops the stage and its children: SIGTERM, then SIGKILL."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.wait(0) is not None:
                return
            if self._pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, number)
            if self.wait(GRACE) is not None:
                return

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        while b"\n" not in self._buffer:
            if not select.select([self._answers], [], [], max(0.0, seconds))[0]:
                return None
            received = os.read(self._answers, 4096)
            if not received:  # the server was killed, and its fork with it
                return {"exit_code": -signal.SIGKILL}
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer
