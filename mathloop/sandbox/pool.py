"""A pool of warm fork servers, and the programs that run in it."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import subprocess
import sys
import tempfile
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mathloop.errors import SandboxError
from mathloop.sandbox.confinement import LAYERS

ZYGOTE = Path(__file__).with_name("zygote.py")
START_SECONDS = 60.0
GRACE_SECONDS = 10.0
"""How long past a program's own limit its server may take before it is held for dead."""
MOST_PARKED = 32
"""Children that a server keeps for their next block; of more, the oldest are ended."""

Layer = Literal["limits", "seccomp", "landlock", "namespaces"]
Status = Literal["ok", "error", "timeout", "memory", "refused"]
Blocks = tuple[str, ...]


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
        default=("numpy", "sympy"),
        description="modules, beside the usual ones of the standard library, that are loaded already for"
        " programs that name them",
    )
    require: Layer = Field(
        default="seccomp",
        description="the sandbox does not start unless this layer of isolation and those before it are"
        " active: limits, seccomp, landlock, namespaces",
    )
    without: tuple[Layer, ...] = Field(
        default=(), description="layers left out on purpose, to see what the others hold"
    )


@dataclass(frozen=True)
class Execution:
    """How one program ended: `stdout` is cut, `error` is the error's last line, `seconds` are wall time.

    All but "timeout" and the seconds are the program's own claims, as its output is: it can print what it
    likes and end as it likes. Nothing may be trusted because of them; an answer is graded by its final text.
    `kept` tells whether the next block of the same solution finds what this one has set.
    """

    status: Status
    stdout: str
    error: str
    seconds: float
    kept: bool = True

    def text(self, limit: int = 400) -> str:
        """What a model is shown, cut to `limit` characters: stdout or, on failure, the error's last line."""
        return (self.stdout if self.status == "ok" else self.error).strip()[:limit]


class Worker:
    """One warm server, started by exec (never forked from a caller that may have threads)."""

    def __init__(self, config: SandboxConfig, modules: Sequence[str]) -> None:
        self._scratch = tempfile.TemporaryDirectory(prefix="mathloop-sandbox-")
        self.parked: OrderedDict[tuple[int, Blocks], int] = OrderedDict()
        """Children that wait for a next block, by their seed and the blocks that they have run."""
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
            env={"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
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
                f"the sandbox requires {config.require}, and this machine does not give {', '.join(missing)}"
            )

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """The server's answer; raises OSError where it is dead or stuck."""
        data = json.dumps(request | {"drop": self.dropped}).encode()
        self.dropped = []
        view = memoryview(len(data).to_bytes(4, "big") + data)
        assert self.process.stdin is not None
        while view:
            view = view[os.write(self.process.stdin.fileno(), view) :]
        return self._receive(request["seconds"] * len(request["blocks"]) + GRACE_SECONDS)

    def park(self, key: tuple[int, Blocks], child: int) -> None:
        """Remembers a child that the server keeps; the oldest of too many are ended with the next request."""
        self.dropped += [self.parked.pop(key)] if key in self.parked else []
        self.parked[key] = child
        while len(self.parked) > MOST_PARKED:
            self.dropped.append(self.parked.popitem(last=False)[1])

    def drop(self, key: tuple[int, Blocks]) -> None:
        """Ends the child that waits for the block after these, with the next request."""
        if key in self.parked:
            self.dropped.append(self.parked.pop(key))

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
        """Ends the server and, with it, its children."""
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        self._scratch.cleanup()


class _Slot:
    """The place of one running program, with its servers; one thread at a time.

    A fork costs the more the more is loaded, so there are two: a bare one, and one with the modules of
    `config.preload` for programs that name any. Each is started when it is first needed and when it has died.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self.bare: Worker | None = None
        self.full: Worker | None = None
        self.busy = False
        self.forgotten: deque[tuple[int, Blocks]] = deque()

    def run(self, blocks: Blocks, seed: int, keep: bool) -> Execution:
        request = {"blocks": list(blocks), "seed": seed, "keep": keep}
        request |= self.config.model_dump(include={"seconds", "memory_mib", "output_chars"})
        while self.forgotten:
            key = self.forgotten.popleft()
            for worker in self.servers():
                worker.drop(key)
        for attempt in (1, 2):
            worker = self._holder((seed, blocks[:-1])) or self._server(blocks)
            parked = worker.parked.pop((seed, blocks[:-1]), 0)
            try:
                answer = worker.ask(request | {"parked": parked})
                break
            except (OSError, EOFError) as error:
                self._discard(worker)
                if attempt == 2:
                    raise SandboxError(f"the sandbox's server died twice on one program: {error}") from error
        if answer["status"] == "lost":
            raise SandboxError(f"the sandbox failed: {answer['error']}")
        if answer["parked"]:
            worker.park((seed, blocks), answer["parked"])
        return Execution(
            answer["status"], answer["stdout"], answer["error"], answer["seconds"], answer["alive"]
        )

    def servers(self) -> list[Worker]:
        """Those that are running."""
        return [worker for worker in (self.bare, self.full) if worker is not None]

    def start(self) -> Worker:
        """The bare server, started if it is not running."""
        self.bare = self.bare or Worker(self.config, ())
        return self.bare

    def holds(self, key: tuple[int, Blocks]) -> bool:
        return self._holder(key) is not None

    def _holder(self, key: tuple[int, Blocks]) -> Worker | None:
        return next((worker for worker in self.servers() if key in worker.parked), None)

    def _server(self, blocks: Blocks) -> Worker:
        if not any(module in block for block in blocks for module in self.config.preload):
            return self.start()
        self.full = self.full or Worker(self.config, self.config.preload)
        return self.full

    def _discard(self, worker: Worker) -> None:
        worker.close()
        self.bare, self.full = (None if each is worker else each for each in (self.bare, self.full))

    def close(self) -> None:
        for worker in self.servers():
            self._discard(worker)


class Session:
    """Blocks of one solution, which share their names.

    What a block has set is there for the next one, unless the block ran out of time or memory or ended its
    process. The process waits for its next block, stopped; where the sandbox had to end it meanwhile, the
    earlier blocks are run again, unseen, each within the limits of a run.
    """

    def __init__(self, sandbox: Sandbox, seed: int = 0) -> None:
        self._sandbox, self._seed = sandbox, seed
        self._blocks: Blocks = ()

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *_: object) -> None:
        self._sandbox.forget(self._blocks, self._seed)
        self._blocks = ()

    def run(self, code: str) -> Execution:
        """Runs the next block; the Execution shows its own output only."""
        execution = self._sandbox.run_blocks([*self._blocks, code], self._seed)
        if execution.kept:
            self._blocks = (*self._blocks, code)
        return execution


class Sandbox:
    """Runs untrusted Python. Thread-safe; at most `config.workers` programs run at once."""

    def __init__(self, config: SandboxConfig | None = None) -> None:
        self.config = config or SandboxConfig()
        self._slots = [_Slot(self.config) for _ in range(self.config.workers)]
        missing = [module for module in self.config.preload if importlib.util.find_spec(module) is None]
        if missing:
            raise SandboxError(f"the sandbox cannot preload {', '.join(missing)}: not installed here")
        self._active = self._slots[0].start().active
        self._freed = threading.Condition()
        self._threads = ThreadPoolExecutor(self.config.workers, thread_name_prefix="sandbox")
        self._closed = False

    def __enter__(self) -> Sandbox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def isolation(self) -> list[str]:
        """The active layers, from the weakest to the strongest: limits, seccomp, landlock, namespaces."""
        return list(self._active)

    def run(self, code: str, seed: int = 0) -> Execution:
        """Runs one program in a fresh process. Raises SandboxError only if the sandbox itself fails."""
        return self._run((code,), seed, keep=False)

    def run_many(self, programs: Sequence[str | Sequence[str]], *, keep: bool = False) -> list[Execution]:
        """Runs programs over all workers; the results are in the order of `programs`.

        A program may be several blocks, of which the last one's Execution is given; `keep` leaves its process
        waiting for one block more.
        """
        blocks: list[Blocks] = [(each,) if isinstance(each, str) else tuple(each) for each in programs]
        results: list[Execution | None] = [None] * len(blocks)
        waiting: dict[int, deque[int]] = {}
        free: deque[int] = deque()
        for index, program in enumerate(blocks):
            holder = next((i for i, s in enumerate(self._slots) if s.holds((0, program[:-1]))), None)
            (free if holder is None else waiting.setdefault(holder, deque())).append(index)

        def serve(place: int) -> None:
            """Runs what this worker's parked children wait for, then what anyone may run."""
            for queue in (waiting.get(place, deque()), free):
                while queue:
                    try:
                        index = queue.popleft()
                    except IndexError:  # another worker took it
                        break
                    results[index] = self._run(blocks[index], 0, keep, self._slots[place])

        list(self._threads.map(serve, range(len(self._slots))))
        return [result for result in results if result is not None]

    def session(self, seed: int = 0) -> Session:
        """A new session: blocks of one solution that share their names."""
        return Session(self, seed)

    def run_blocks(self, blocks: Sequence[str], seed: int = 0) -> Execution:
        """Runs the last block after the earlier ones, in their process where that still waits for it."""
        return self._run(tuple(blocks), seed, keep=True)

    def forget(self, blocks: Sequence[str], seed: int = 0) -> None:
        """Ends the process that waits for a block after these."""
        for slot in self._slots:
            slot.forgotten.append((seed, tuple(blocks)))

    def _run(self, blocks: Blocks, seed: int, keep: bool, wanted: _Slot | None = None) -> Execution:
        if self._closed:
            raise SandboxError("the sandbox is closed")
        slot = self._borrow((seed, blocks[:-1]), wanted)
        try:
            return slot.run(blocks, seed, keep)
        finally:
            with self._freed:
                slot.busy = False
                self._freed.notify_all()

    def _borrow(self, key: tuple[int, Blocks], wanted: _Slot | None) -> _Slot:
        """A worker for one run: the wanted one, the one that holds the parked child, or any; waits for it."""
        with self._freed:
            while True:
                holder = wanted or (next((s for s in self._slots if s.holds(key)), None) if key[1] else None)
                idle = [slot for slot in ([holder] if holder else self._slots) if not slot.busy]
                if idle:
                    slot = next((each for each in idle if each.servers()), idle[0])
                    slot.busy = True
                    return slot
                self._freed.wait()

    def close(self) -> None:
        """Waits for running programs and ends all servers."""
        if self._closed:
            return
        self._closed = True
        self._threads.shutdown()
        with self._freed:
            while any(slot.busy for slot in self._slots):
                self._freed.wait()
            for slot in self._slots:
                slot.close()
