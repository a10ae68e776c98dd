"""One warm server process as its caller sees it: started, asked, closed."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mathloop.errors import SandboxError
from mathloop.sandbox.config import SandboxConfig
from mathloop.sandbox.confinement import LAYERS
from mathloop.sandbox.pipes import framed

ZYGOTE = Path(__file__).with_name("zygote.py")
START_SECONDS = 60.0
GRACE_SECONDS = 10.0
"""How long past a program's own limit its server may take before it counts as dead."""
MOST_PARKED = 32
"""Children that a server keeps for their next block; beyond that, the oldest are ended."""

STEP_SECONDS = 0.1
"""How often a wait looks whether it was cancelled."""

Blocks = tuple[str, ...]


class Cancelled(Exception):
    """Nobody waits for the program any more."""


class Worker:
    """One warm server, started by exec (never forked from a caller that may have threads)."""

    def __init__(self, config: SandboxConfig, modules: Sequence[str]) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="mathloop-sandbox-")
        self.parked: OrderedDict[tuple[int, Blocks], int] = OrderedDict()
        """Children that wait for a next block, by seed and the blocks that they have run."""
        self.dropped: list[int] = []
        settings = {"modules": list(modules), "without": config.without, "scratch": self._scratch.name}
        # Not -I, which ignores PYTHONHASHSEED: the environment holds nothing else, -P -s do the rest.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-s", str(ZYGOTE), json.dumps(settings)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd=self._scratch.name,
            # Functions of libraries are looked up once here, not in every child.
            env={"PYTHONHASHSEED": "0", "LD_BIND_NOW": "1"}
            | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
            start_new_session=True,
        )
        try:
            self.active: list[str] = self._receive(START_SECONDS)["active"]
        except (OSError, EOFError) as error:
            self.close()
            raise SandboxError(f"the sandbox does not start (preload {list(modules)}): {error}") from error
        missing = [layer for layer in LAYERS[: LAYERS.index(config.require) + 1] if layer not in self.active]
        if missing:
            self.close()
            raise SandboxError(
                f"the sandbox requires {config.require}; this machine lacks {', '.join(missing)}"
            )

    def ask(self, request: dict[str, Any], stopped: Callable[[], bool]) -> dict[str, Any]:
        """The server's answer.

        Raises:
            OSError, EOFError: the server is dead or stuck.
            Cancelled: `stopped` says that nobody waits for the answer; the program still runs.
        """
        view = memoryview(framed(json.dumps(request | {"drop": self.dropped}).encode()))
        self.dropped = []
        assert self.process.stdin is not None
        while view:
            view = view[os.write(self.process.stdin.fileno(), view) :]
        return self._receive(request["seconds"] * len(request["blocks"]) + GRACE_SECONDS, stopped)

    def park(self, key: tuple[int, Blocks], child: int) -> None:
        """Records a child that the server keeps; beyond MOST_PARKED, the next request ends the oldest."""
        self.dropped += [self.parked.pop(key)] if key in self.parked else []
        self.parked[key] = child
        while len(self.parked) > MOST_PARKED:
            self.dropped.append(self.parked.popitem(last=False)[1])

    def drop(self, key: tuple[int, Blocks]) -> None:
        """Lets the next request end the child that waits for the block after these."""
        if key in self.parked:
            self.dropped.append(self.parked.pop(key))

    def _receive(self, seconds: float, stopped: Callable[[], bool] = lambda: False) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        size = int.from_bytes(self._read(4, deadline, stopped), "big")
        answer: dict[str, Any] = json.loads(self._read(size, deadline, stopped))
        return answer

    def _read(self, size: int, deadline: float, stopped: Callable[[], bool]) -> bytes:
        assert self.process.stdout is not None
        source = self.process.stdout.fileno()
        poll = select.poll()  # select.select fails on descriptors past 1024
        poll.register(source, select.POLLIN)
        data = b""
        while len(data) < size:
            left = max(deadline - time.monotonic(), 0)
            if not poll.poll(min(left, STEP_SECONDS) * 1000):
                if stopped():
                    raise Cancelled
                if left <= STEP_SECONDS:
                    raise TimeoutError("the sandbox's server does not answer")
                continue
            part = os.read(source, size - len(data))
            if not part:
                raise EOFError("the sandbox's server died") from None
            data += part
        return data

    def close(self) -> None:
        """Ends the server and, with it, its children."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self._scratch.cleanup()
