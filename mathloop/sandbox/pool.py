"""A pool of warm fork servers, and the programs that run in it."""

from __future__ import annotations

import json
import os
import queue
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mathloop.errors import SandboxError

ZYGOTE = Path(__file__).with_name("zygote.py")
START_SECONDS = 60.0
GRACE_SECONDS = 10.0
"""How long past a program's own limit its server may take before it is held for dead."""

Status = Literal["ok", "error", "timeout", "memory", "refused"]


class SandboxConfig(BaseModel):
    """What a program may use."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seconds: float = Field(default=5.0, gt=0, le=3600, description="wall time of one run, in seconds")
    memory_mib: int = Field(default=512, ge=16, description="address space beyond the warm server's, in MiB")
    output_chars: int = Field(default=400, ge=0, description="characters of stdout that are kept")
    workers: int = Field(
        default=1, ge=1, le=256, description="warm servers, each running one program at a time"
    )
    preload: tuple[str, ...] = Field(
        default=("math",), description="modules that a program imports at no cost"
    )
    require: Literal["limits", "seccomp", "landlock"] = Field(
        default="seccomp", description="a layer of isolation without which the sandbox does not start"
    )


@dataclass(frozen=True)
class Execution:
    """How one program ended: `stdout` is cut, `error` is the error's last line, `seconds` are wall time.

    All but "timeout" and the seconds are the program's own claims, as its output is: it can print what it
    likes and end as it likes. Nothing may be trusted because of them; an answer is graded by its final text.
    """

    status: Status
    stdout: str
    error: str
    seconds: float

    def text(self, limit: int = 400) -> str:
        """What a model is shown, cut to `limit` characters: stdout or, on failure, the error's last line."""
        return (self.stdout if self.status == "ok" else self.error).strip()[:limit]


class Worker:
    """One warm server, started by exec (never forked from a caller that may have threads)."""

    def __init__(self, config: SandboxConfig, scratch: str) -> None:
        # Not -I, which ignores PYTHONHASHSEED: the environment holds nothing else, -P -s do the rest.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-s", str(ZYGOTE), *config.preload],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd=scratch,
            env={"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        try:
            self.active: list[str] = self._receive(START_SECONDS)["active"]
        except (OSError, EOFError) as error:
            self.close()
            raise SandboxError(f"the sandbox does not start (preload {config.preload}): {error}") from error
        if config.require not in self.active:
            self.close()
            raise SandboxError(f"this machine gives {self.active}; the sandbox requires {config.require}")

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The server's answer; raises OSError where it is dead or stuck."""
        data = json.dumps(request).encode()
        view = memoryview(len(data).to_bytes(4, "big") + data)
        assert self.process.stdin is not None
        while view:
            view = view[os.write(self.process.stdin.fileno(), view) :]
        return self._receive(request["seconds"] + GRACE_SECONDS)

    def _receive(self, seconds: float) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        size = int.from_bytes(self._read(4, deadline), "big")
        answer: dict[str, Any] = json.loads(self._read(size, deadline))
        return answer

    def _read(self, size: int, deadline: float) -> bytes:
        assert self.process.stdout is not None
        source = self.process.stdout.fileno()
        poll = select.poll()  # select.select fails on descriptors past 1024
        poll.register(source, select.POLLIN)
        data = b""
        while len(data) < size:
            if not poll.poll(max(deadline - time.monotonic(), 0) * 1000):
                raise TimeoutError("the sandbox's server does not answer")
            part = os.read(source, size - len(data))
            if not part:
                raise EOFError("the sandbox's server died") from None
            data += part
        return data

    def close(self) -> None:
        """Ends the server and, with it, its child."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()


class Session:
    """Blocks that share their names. Each run replays the earlier blocks, unseen, in a fresh child.

    So a session holds no process between its blocks, and one run's limits hold for the replay too. A block
    that ran out of time or memory is not replayed; one that raised is, since it may have set names before.
    """

    def __init__(self, sandbox: Sandbox, seed: int = 0) -> None:
        self._sandbox, self._seed = sandbox, seed
        self._blocks: list[str] = []

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._blocks.clear()

    def run(self, code: str) -> Execution:
        """Runs the next block; the Execution shows its own output only."""
        execution = self._sandbox.run_blocks([*self._blocks, code], self._seed)
        if execution.status not in ("timeout", "memory"):
            self._blocks.append(code)
        return execution


class Sandbox:
    """Runs untrusted Python. Thread-safe; at most `config.workers` programs run at once."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self._scratch = tempfile.TemporaryDirectory(prefix="mathloop-sandbox-")
        self._idle: queue.LifoQueue[Worker | None] = queue.LifoQueue()
        try:
            first = Worker(self.config, self._scratch.name)
        except BaseException:
            self._scratch.cleanup()
            raise
        self._active = first.active
        for _ in range(self.config.workers - 1):
            self._idle.put(None)  # started when it is first needed
        self._idle.put(first)
        self._threads = ThreadPoolExecutor(self.config.workers, thread_name_prefix="sandbox")
        self._closed = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def isolation(self) -> list[str]:
        """The active layers, among: limits, no capabilities, no new privileges, landlock, seccomp."""
        return list(self._active)

    def run(self, code: str, seed: int = 0) -> Execution:
        """Runs one program in a fresh process. Raises SandboxError only if the sandbox itself fails."""
        return self.run_blocks([code], seed)

    def run_many(self, codes: Sequence[str]) -> list[Execution]:
        """Runs programs over all workers; the results are in the order of `codes`."""
        return list(self._threads.map(self.run, codes))

    def session(self, seed: int = 0) -> Session:
        """A new session: blocks of one solution that share their names."""
        return Session(self, seed)

    def run_blocks(self, blocks: Sequence[str], seed: int = 0) -> Execution:
        """Runs blocks in one fresh process; the Execution is the last one's."""
        if self._closed:
            raise SandboxError("the sandbox is closed")
        request = {"blocks": list(blocks), "seed": seed}
        request |= self.config.model_dump(include={"seconds", "memory_mib", "output_chars"})
        worker = self._idle.get()
        try:
            for attempt in (1, 2):
                worker = worker or Worker(self.config, self._scratch.name)
                try:
                    answer = worker.ask(request)
                    break
                except (OSError, EOFError) as error:
                    worker.close()
                    worker = None
                    if attempt == 2:
                        raise SandboxError(
                            f"the sandbox's server died twice on one program: {error}"
                        ) from error
        finally:
            self._idle.put(worker)
        if answer["status"] == "lost":
            raise SandboxError(f"the sandbox failed: {answer['error']}")
        return Execution(answer["status"], answer["stdout"], answer["error"], answer["seconds"])

    def close(self) -> None:
        """Waits for running programs and ends all servers."""
        if self._closed:
            return
        self._closed = True
        self._threads.shutdown()
        for _ in range(self.config.workers):
            worker = self._idle.get()
            if worker is not None:
                worker.close()
        self._scratch.cleanup()
