"""Starts stages and ends them; the other side of `pipelines.local.stage`."""

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
"""Seconds that a stage has to end by itself after SIGTERM."""
SPINS = "5000"
"""How long torch's threads spin for each other. By default they spin for milliseconds, and a small model
trains ten times slower as soon as something else keeps one core busy; idle cores don't notice."""


class Launcher:
    """Holds the process that stages are forked from. Use as a context manager; one stage at a time."""

    def __enter__(self) -> Launcher:
        environment = {
            "GOMP_SPINCOUNT": SPINS,
            "TQDM_DISABLE": "1",  # bars of other libraries make logs unreadable
            **os.environ,
            "_KFP_RUNTIME": "true",  # kfp then leaves out its compiler and client
            "PYTHONUNBUFFERED": "1",
            "PYTHONHASHSEED": "0",
        }
        self._server = subprocess.Popen(
            [sys.executable, "-m", "pipelines.local.stage", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C reaches us, and we end the stage with all that it started
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
        with suppress(BrokenPipeError):  # `answer` tells
            os.write(self._server.stdin.fileno(), json.dumps(request).encode() + b"\n")
        return Process(self._server.stdout.fileno())


class Process:
    """A stage that runs."""

    def __init__(self, answers: int) -> None:
        self._answers = answers
        self._pid: int | None = None
        self._buffer = b""
        self.error: str | None = None
        """The one line of a stage that ended with a mistake of the user's."""

    def wait(self, seconds: float) -> int | None:
        """The exit code as `subprocess` gives it, None if the stage has not ended after `seconds`."""
        deadline = time.monotonic() + seconds
        while (answer := self._answer(deadline - time.monotonic())) is not None:
            if "exit_code" in answer:
                return int(answer["exit_code"])
            self._pid = answer.get("pid", self._pid)
            self.error = answer.get("error")
        return None

    def stop(self) -> None:
        """Ends the stage and what it started: politely, then by force."""
        for sign in (signal.SIGTERM, signal.SIGKILL):
            if self.wait(0) is not None:
                return
            if self._pid is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, sign)
            if self.wait(GRACE) is not None:
                return

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        while b"\n" not in self._buffer:
            if not select.select([self._answers], [], [], max(0.0, seconds))[0]:
                return None
            received = os.read(self._answers, 4096)
            if not received:  # the server itself was killed, and its fork with it
                return {"exit_code": -signal.SIGKILL}
            self._buffer += received
        line, _, self._buffer = self._buffer.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer
