"""A pool of warm fork servers, and the programs that run in it."""

from __future__ import annotations

import importlib.util
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from mathloop.errors import SandboxError
from mathloop.sandbox.config import SandboxConfig
from mathloop.sandbox.worker import Blocks, Cancelled, Worker

Status = Literal["ok", "error", "timeout", "memory", "refused"]


_SIGNS = {"numpy": ("lambdify",)}
"""Names in a program that need a module although they do not name it: sympy loads it when they are called."""


def _never() -> bool:
    return False


@dataclass(frozen=True)
class Execution:
    """How one program ended: `stdout` is cut, `error` is the error's last line, `seconds` is wall time.

    All but "timeout" and the seconds are the program's own claims, as its output is: it can print and claim
    what it likes. Nothing may be trusted because of them; an answer is graded by its final text.
    `kept` is whether the next block of the same solution finds what this one has set.
    """

    status: Status
    stdout: str
    error: str
    seconds: float
    kept: bool = True

    def text(self, limit: int = 400) -> str:
        """What a model sees, cut to `limit` characters: stdout or, on failure, the error's last line."""
        return (self.stdout if self.status == "ok" else self.error).strip()[:limit]


class _Slot:
    """The place of one running program, with its servers; used by one thread at a time.

    The more is loaded, the more a fork costs, so each server has only those modules of `config.preload` that
    its programs name: none, one or several. It is started when first needed and after its death.
    """

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self._limits = config.model_dump(include={"seconds", "memory_mib", "output_chars"})
        self._servers: dict[tuple[str, ...], Worker] = {}
        self.busy = False
        self.forgotten: deque[tuple[int, Blocks]] = deque()

    def run(self, blocks: Blocks, seed: int, keep: bool, stopped: Callable[[], bool]) -> Execution:
        request = {"blocks": list(blocks), "seed": seed, "keep": keep}
        request |= self._limits
        while self.forgotten:
            key = self.forgotten.popleft()
            for worker in self.servers():
                worker.drop(key)
        for attempt in (1, 2):
            worker = self._holder((seed, blocks[:-1])) or self._server(blocks)
            parked = worker.parked.pop((seed, blocks[:-1]), 0)
            try:
                answer = worker.ask(request | {"parked": parked}, stopped)
                break
            except Cancelled:
                self._discard(worker)  # with the program
                raise
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
        """The servers that are running."""
        return [*self._servers.values()]

    def start(self, modules: tuple[str, ...] = ()) -> Worker:
        """The server with these modules, started if it is not running."""
        if modules not in self._servers:
            self._servers[modules] = Worker(self.config, modules)
        return self._servers[modules]

    def holds(self, key: tuple[int, Blocks]) -> bool:
        return self._holder(key) is not None

    def _holder(self, key: tuple[int, Blocks]) -> Worker | None:
        return next((worker for worker in self.servers() if key in worker.parked), None)

    def _server(self, blocks: Blocks) -> Worker:
        named = [
            module
            for module in self.config.preload
            if any(sign in block for block in blocks for sign in (module, *_SIGNS.get(module, ())))
        ]
        return self.start(tuple(named))

    def _discard(self, worker: Worker) -> None:
        worker.close()
        self._servers = {named: each for named, each in self._servers.items() if each is not worker}

    def close(self) -> None:
        for worker in self.servers():
            self._discard(worker)


class Session:
    """Blocks of one solution, which share their names.

    The next block finds what a block has set, unless that block ran out of time or memory or ended its
    process. Between blocks the process is stopped; if the sandbox had to end it meanwhile, the earlier blocks
    run again, their output unseen, each within the limits of a run.
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
        """Runs the next block; the Execution shows only this block's output."""
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
        """The active layers, weakest first: limits, seccomp, landlock, namespaces."""
        return list(self._active)

    def run(self, code: str, seed: int = 0) -> Execution:
        """Runs one program in a fresh process. Raises SandboxError only where the sandbox itself fails."""
        return self._run((code,), seed, keep=False)

    def run_many(
        self,
        programs: Sequence[str | Sequence[str]],
        *,
        keep: bool = False,
        stopped: Callable[[], bool] = _never,
    ) -> list[Execution]:
        """Runs programs on all workers; the results are in the order of `programs`.

        A program may be several blocks; its result is the Execution of the last one. `keep` lets its process
        wait for one more block.

        Raises Cancelled soon after `stopped` says so; what runs then is ended, with all parked processes of
        its worker.
        """
        blocks: list[Blocks] = [(each,) if isinstance(each, str) else tuple(each) for each in programs]
        results: list[Execution | None] = [None] * len(blocks)
        waiting: dict[int, deque[int]] = {}
        free: deque[int] = deque()
        for index, program in enumerate(blocks):
            holder = next((i for i, s in enumerate(self._slots) if s.holds((0, program[:-1]))), None)
            (free if holder is None else waiting.setdefault(holder, deque())).append(index)

        def serve(place: int) -> None:
            """Runs the programs whose parked children are here, then those that any worker may run."""
            for queue in (waiting.get(place, deque()), free):
                while queue:
                    try:
                        index = queue.popleft()
                    except IndexError:  # another worker took it
                        break
                    results[index] = self._run(blocks[index], 0, keep, self._slots[place], stopped)

        list(self._threads.map(serve, range(len(self._slots))))
        return [result for result in results if result is not None]

    def session(self, seed: int = 0) -> Session:
        """A new session: blocks of one solution that share their names."""
        return Session(self, seed)

    def run_blocks(self, blocks: Sequence[str], seed: int = 0) -> Execution:
        """Runs the last block after the earlier ones, in their process if that still waits for it."""
        return self._run(tuple(blocks), seed, keep=True)

    def forget(self, blocks: Sequence[str], seed: int = 0) -> None:
        """Ends the process that waits for a block after these."""
        for slot in self._slots:
            slot.forgotten.append((seed, tuple(blocks)))

    def _run(
        self,
        blocks: Blocks,
        seed: int,
        keep: bool,
        wanted: _Slot | None = None,
        stopped: Callable[[], bool] = _never,
    ) -> Execution:
        if stopped():
            raise Cancelled
        if self._closed:
            raise SandboxError("the sandbox is closed")
        slot = self._borrow((seed, blocks[:-1]), wanted)
        try:
            return slot.run(blocks, seed, keep, stopped)
        finally:
            with self._freed:
                slot.busy = False
                self._freed.notify_all()

    def _borrow(self, key: tuple[int, Blocks], wanted: _Slot | None) -> _Slot:
        """Waits for a slot for one run: the wanted one, the one that holds the parked child, or any."""
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
