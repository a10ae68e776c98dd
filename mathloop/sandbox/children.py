"""A forked child as its server sees it: it is sent blocks, and its output and its claims are read."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from dataclasses import dataclass, field
from typing import Literal

from mathloop.sandbox.blocks import MOST_ERROR_CHARS
from mathloop.sandbox.confinement import limit_cpu
from mathloop.sandbox.pipes import framed, read_available, write_available

MOST_BYTES = 1 << 18
"""A program that prints more than this is killed; far less of its output is kept."""
CLAIMS = ("ok", "error", "memory", "refused")
"""What a child may claim of its program; that it ran out of time is its server's observation."""

Ending = Literal["claimed", "timeout", "flood", "gone", "caller gone"]
"""How a block ended: the child claims a status, ran out of time, printed too much or closed its pipes; or the
caller, for whom it ran, has closed its own."""


@dataclass
class Child:
    """A child process, with the pipes that bring its output and its claims and take code to it."""

    pid: int
    output: int
    result: int
    code: int
    cpu_seconds: float
    outer_pid: str = ""
    """Its process number in /proc; the namespace has others."""
    active: list[str] = field(default_factory=list)
    """Layers that confine it, namespaces left out; empty until it says that it is confined."""
    claims: bytes = b""
    printed: bytes = b""
    unsent: bytes = b""
    open_pipes: set[int] = field(default_factory=set)

    def send(self, block: str, seconds: float) -> None:
        """Wakes the child for its next block; what it printed or claimed unasked is dropped."""
        self.cpu_seconds += seconds + 1
        limit_cpu(self.pid, self.cpu_seconds)
        for pipe in (self.output, self.result):
            with contextlib.suppress(BlockingIOError):
                for _ in range(MOST_BYTES >> 16):  # a child that keeps writing would never be done
                    os.read(pipe, 1 << 16)
        self.claims = self.printed = b""
        self.unsent += framed(block.encode("utf-8", "surrogatepass"))
        os.kill(self.pid, signal.SIGCONT)

    def watch(self, deadline: float, caller: int) -> Ending:
        """Reads what the child writes until its block ends; `caller` is the pipe of the caller's requests."""
        poll = select.poll()
        for pipe in self.open_pipes:
            poll.register(pipe, select.POLLIN)
        poll.register(caller, 0)  # the caller's end closing
        if self.unsent:
            poll.register(self.code, select.POLLOUT)
        while self.open_pipes:
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            for source, _ in poll.poll(left * 1000 + 1):
                if source == caller:
                    return "caller gone"
                if source == self.code:
                    self.unsent = write_available(self.code, self.unsent)
                    if not self.unsent:
                        poll.unregister(self.code)
                elif not self._read(source):
                    poll.unregister(source)
                    self.open_pipes.discard(source)
            if not self.active and b"\n" in self.claims:
                confirmation, _, self.claims = self.claims.partition(b"\n")
                self.active, self.outer_pid = json.loads(confirmation)
            if self.active and b"\n" in self.claims:
                if self.output in self.open_pipes:
                    self.printed += read_available(self.output)
                return "claimed"
            if len(self.printed) + len(self.claims) > MOST_BYTES:
                return "flood"
        return "gone"

    def _read(self, pipe: int) -> bool:
        """Reads what a pipe holds; False where that was nothing."""
        data = read_available(pipe)
        if pipe == self.output:
            self.printed += data
        else:
            self.claims += data
        return bool(data)

    def claims_memory(self) -> bool:
        """Whether it claims that its program ran out of memory."""
        return self.claims.startswith(b'["memory"')

    def close(self) -> None:
        """Closes the server's ends of its pipes."""
        for pipe in (self.output, self.result, self.code):
            os.close(pipe)


def judge(child: Child, ending: Ending, exit_code: int, seconds: float) -> tuple[str, str]:
    """Status and error line of a block that has ended; "lost" where its child could not even begin."""
    claim = child.claims.partition(b"\n")[0]
    if ending == "timeout" or exit_code == -signal.SIGXCPU:
        return "timeout", f"TimeoutError: ran longer than {seconds:g} s"
    if ending == "flood":
        return "error", f"OutputError: printed more than {MOST_BYTES} bytes"
    if not child.active:
        return "lost", "the child could not confine itself"
    try:
        status, error = json.loads(claim)
        if status in CLAIMS and isinstance(error, str):
            return status, error[:MOST_ERROR_CHARS].encode("utf-8", "replace").decode("utf-8")
    except (ValueError, TypeError, RecursionError):
        pass
    if exit_code == 0 and not claim:
        return "ok", ""
    reason = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
    return "error", f"the program {reason}"
