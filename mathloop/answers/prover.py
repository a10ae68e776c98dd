"""Worker processes that prove what arithmetic in this process cannot; killed at their deadline and replaced.

A worker is a plain subprocess, so any thread and any process (also daemonic or forked ones) can use one. It
receives pickled trees that this process built, never text, and answers with one line of JSON.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import pickle
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

from mathloop.answers import deadline
from mathloop.answers.deadline import Undecided
from mathloop.answers.syntax import Node

SECONDS_PER_VERDICT = 2.0
SECONDS_TO_START = 60.0
MOST_WORKERS = 2
MEMORY_BYTES = 1 << 30


class Prover:
    """The proofs of one verdict, all before its deadline; starting a worker does not count."""

    def __init__(self) -> None:
        self.used = False

    def prove(self, task: str, left: Node, right: Node, integer: bool) -> bool:
        """Asks a worker; raises `Undecided` at the deadline."""
        self.used = True
        deadline.check()
        waiting = time.monotonic()
        worker = _pool.borrow()
        deadline.extend(time.monotonic() - waiting)
        seconds = min(deadline.remaining(), SECONDS_PER_VERDICT)
        try:
            reply = worker.ask(pickle.dumps((task, left, right, integer, seconds)), seconds)
        except BaseException:
            worker.kill()
            _pool.free_place()
            raise
        _pool.give_back(worker)
        if reply.get("undecided"):
            raise Undecided(str(reply["undecided"]))
        return bool(reply["equal"])


class _Worker:
    def __init__(self) -> None:
        package_root = str(Path(__file__).parents[2])
        search = os.pathsep.join([package_root, *filter(None, sys.path)])
        environment = os.environ | {"PYTHONPATH": search, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "mathloop.answers.worker", str(MEMORY_BYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        try:
            self._line(SECONDS_TO_START)  # the worker's first line: it is ready
        except BaseException:
            self.kill()
            raise

    def ask(self, question: bytes, seconds: float) -> dict[str, object]:
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(len(question).to_bytes(4, "big") + question)
            self.process.stdin.flush()
        except OSError:
            raise Undecided("the worker process died") from None
        reply: dict[str, object] = json.loads(self._line(seconds))
        return reply

    def _line(self, seconds: float) -> bytes:
        assert self.process.stdout is not None
        file = self.process.stdout.fileno()
        deadline = time.monotonic() + seconds
        line = b""
        while not line.endswith(b"\n"):
            poll = select.poll()
            poll.register(file, select.POLLIN | select.POLLHUP)
            if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
                raise Undecided(f"not decided within {seconds:.1f} s")
            part = os.read(file, 4096)
            if not part:
                raise Undecided("the worker process died (out of memory or past its deadline)")
            line += part
        return line

    def alive(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.close_pipes()

    def close_pipes(self) -> None:
        """Closes this process's ends of the pipes."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


class _Pool:
    """At most `MOST_WORKERS` workers, started on demand; `borrow` waits if all are in use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[_Worker] = []
        self._started: list[_Worker] = []
        self._places = threading.BoundedSemaphore(MOST_WORKERS)

    def borrow(self) -> _Worker:
        self._places.acquire()
        try:
            while True:
                with self._lock:
                    worker = self._idle.pop() if self._idle else None
                if worker is None:
                    worker = _Worker()
                    with self._lock:
                        self._started = [*filter(_Worker.alive, self._started), worker]
                    return worker
                if worker.alive():
                    return worker
                worker.kill()
        except BaseException:
            self._places.release()
            raise

    def give_back(self, worker: _Worker) -> None:
        with self._lock:
            self._idle.append(worker)
        self._places.release()

    def free_place(self) -> None:
        """Allows another worker in place of one that was killed."""
        self._places.release()

    def close(self) -> None:
        with self._lock:
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.kill()

    def abandon(self) -> None:
        """Leaves the workers to the parent process after a fork, so that they end with it."""
        for worker in self._started:
            worker.close_pipes()
            worker.process.returncode = 0  # only the parent may wait for it


_pool = _Pool()


def _after_fork() -> None:
    global _pool
    _pool.abandon()
    _pool = _Pool()


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _pool.close())
