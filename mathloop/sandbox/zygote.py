"""A warm server that forks one confined child for each program, and keeps children of unfinished solutions.

Run as a script, so that it loads nothing of mathloop but its three neighbors. Speaks length-prefixed JSON
(4 bytes, big-endian) on what were its stdin and stdout. Its first message says which layers of isolation are
active. It ends when its input does, and its children die with it.

What a child says before it runs anything, that it is confined, can be relied on. What it says afterwards is
the program's own claim: it shares a process with the program, which may write to the same pipe.
"""

from __future__ import annotations

import ast
import contextlib
import ctypes
import fcntl
import json
import os
import random
import resource
import select
import signal
import sys
import time
import traceback
import types
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # its neighbors, without all that mathloop.sandbox itself imports
    _ROOM = Path(__file__).resolve().parent
    for _name, _folder in (("mathloop", _ROOM.parent), ("mathloop.sandbox", _ROOM)):
        sys.modules[_name] = types.ModuleType(_name)
        sys.modules[_name].__path__ = [str(_folder)]

from mathloop.sandbox.confinement import Confinement, die_with_parent, enter_namespaces, leave, limit_cpu
from mathloop.sandbox.preloading import preload

MOST_BYTES = 1 << 18
"""A program that prints more than this is killed; what is kept of it is far less."""
MOST_ERROR = 2000
"""Characters of an error's last line."""
MOST_PARKED_BYTES = 32 << 20
"""A child that holds more memory of its own than this, or a file, is not kept for its next block."""
CLAIMS = ("ok", "error", "memory", "refused")
"""What a child may say of its program; that it ran out of time, its server says."""
_FORK = ctypes.PyDLL(None).fork
"""Python's own fork also makes locks anew and seeds generators, for threads that a server does not have: it
touches 200 pages, which is a quarter of a run's time."""
NO_FORK = {"status": "lost", "error": "the system gives no process", "parked": 0} | {
    "stdout": "", "alive": False, "seconds": 0.0
}  # fmt: skip
LOWEST_OWN_FILE, HIGHEST_FILE = 256, 1024


@dataclass
class Child:
    """A forked child as its server sees it: where its output and its claims come from, where code goes."""

    pid: int
    output: int
    result: int
    code: int
    cpu_seconds: float
    outer_pid: str = ""
    """Its process number in /proc; the namespace has others."""
    claims: bytes = b""
    printed: bytes = b""
    confined: bool = False
    unsent: bytes = b""
    open_pipes: set[int] = field(default_factory=set)

    def close(self) -> None:
        """Closes the server's ends of its pipes."""
        for pipe in (self.output, self.result, self.code):
            os.close(pipe)


class Server:
    """The warm process: modules loaded, confinement prepared."""

    def __init__(self, modules: list[str], without: list[str], scratch: str) -> None:
        self.namespaces = "namespaces" not in without and enter_namespaces(scratch)
        self.pid = os.getpid()
        self.input, self.answers = (fcntl.fcntl(stream, fcntl.F_DUPFD, LOWEST_OWN_FILE) for stream in (0, 1))
        null = os.open("/dev/null", os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(null, stream)
        os.close(null)
        sys.stdout.reconfigure(encoding="utf-8", errors="replace")  # type: ignore[union-attr]
        self.scratch = scratch if self.namespaces else None
        self.folder = scratch
        os.chdir(
            scratch
        )  # again: what is mounted there lies over the folder that this process was started in
        use = os.statvfs(scratch)
        self.scratch_files = use.f_files - use.f_ffree
        self.confinement = Confinement(self.scratch, without)
        preload(modules)
        with open("/proc/self/statm") as statm:
            self.own_bytes, self.resident_bytes = (
                int(pages) * resource.getpagesize() for pages in statm.read().split()[:2]
            )
        self.active: list[str] = []
        self.parked: dict[int, Child] = {}
        self.last_parked = 0
        os.environ.clear()
        self.confinement.server()

    # In the child

    def child(self, request: dict[str, Any], output: int, result: int, code: int) -> None:
        """Says that it is confined, runs block after block and says how each ended. Never returns."""
        die_with_parent()
        if os.getppid() != self.pid:
            os._exit(1)
        outer = _outer_pid()
        os.dup2(output, 1)
        kept = sorted({result, code, self.confinement.rules} - {-1})
        for low, high in zip([2, *kept], [*kept, HIGHEST_FILE], strict=True):
            os.closerange(low + 1, high)
        address_space = self.own_bytes + request["memory_mib"] * (1 << 20)
        active = self.confinement.child(address_space, request["seconds"])
        if self.active and active != self.active[: len(active)]:
            os._exit(1)
        seed(request["seed"])
        os.write(result, json.dumps([active, outer]).encode() + b"\n")
        names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        block = request["blocks"][0]
        while True:
            ended = run_block(block, names)
            try:
                sys.stdout.flush()
            finally:
                os.write(result, json.dumps(ended).encode() + b"\n")
            header = os.read(code, 4)
            if not header:
                os._exit(0)
            block = _exactly(code, int.from_bytes(header, "big")).decode("utf-8", "surrogatepass")

    # In the server

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Runs the last of the request's blocks in a parked child, or all of them in a fresh one."""
        for number in request["drop"]:
            self.end(self.parked.pop(number, None))
        started = time.monotonic()
        child = self.parked.pop(request["parked"], None)
        blocks = request["blocks"][-1:]
        if child is None:
            child, blocks = self.fork(request) or self.fork_alone(request), request["blocks"][1:]
            if child is None:
                return NO_FORK
            ending = self.watch(child, started + request["seconds"])
        else:
            ending = ""
        for block in blocks:
            if ending:
                break
            self.go_on(child, block, request["seconds"])
            ending = self.watch(child, time.monotonic() + request["seconds"])
        return self.finish(child, ending, request) | {"seconds": time.monotonic() - started}

    def fork_alone(self, request: dict[str, Any]) -> Child | None:
        """A fresh child, all that wait ended before: the system has run out of processes or memory."""
        for number in [*self.parked]:
            self.end(self.parked.pop(number))
        return self.fork(request)

    def fork(self, request: dict[str, Any]) -> Child | None:
        """A fresh child that runs the request's first block; None where the system gives none."""
        output, output_in = os.pipe()
        result, result_in = os.pipe()
        code_out, code = os.pipe()
        pid = _FORK()
        if pid == 0:
            try:
                self.child(request, output_in, result_in, code_out)
            finally:
                os._exit(1)
        for pipe in (output_in, result_in, code_out):
            os.close(pipe)
        if pid < 0:  # as a process number, -1 would be everyone
            for pipe in (output, result, code):
                os.close(pipe)
            return None
        for pipe in (output, result, code):
            os.set_blocking(pipe, False)
        return Child(pid, output, result, code, request["seconds"], open_pipes={output, result})

    def go_on(self, child: Child, block: str, seconds: float) -> None:
        """Wakes a child for its next block; what it said or printed without being asked is forgotten."""
        child.cpu_seconds += seconds + 1
        limit_cpu(child.pid, child.cpu_seconds)
        for pipe in (child.output, child.result):
            with contextlib.suppress(BlockingIOError):
                for _ in range(MOST_BYTES >> 16):  # one that goes on writing would never be done
                    os.read(pipe, 1 << 16)
        child.claims = child.printed = b""
        data = block.encode("utf-8", "surrogatepass")
        child.unsent += len(data).to_bytes(4, "big") + data
        os.kill(child.pid, signal.SIGCONT)

    def watch(self, child: Child, deadline: float) -> str:
        """Reads what a child prints until its block ends; "timeout", "flood", "gone" or "" for a claim."""
        poll = select.poll()
        for pipe in child.open_pipes:
            poll.register(pipe, select.POLLIN)
        poll.register(self.input, 0)  # the caller's end closing
        if child.unsent:
            poll.register(child.code, select.POLLOUT)
        while child.open_pipes:
            left = deadline - time.monotonic()
            if left <= 0:
                return "timeout"
            for source, _ in poll.poll(left * 1000 + 1):
                if source == self.input:
                    leave(self.folder)
                    os._exit(0)  # the child follows
                if source == child.code:
                    child.unsent = _sent(child.code, child.unsent)
                    if not child.unsent:
                        poll.unregister(child.code)
                    continue
                data = _available(source)
                if not data:
                    poll.unregister(source)
                    child.open_pipes.discard(source)
                elif source == child.output:
                    child.printed += data
                else:
                    child.claims += data
            if not child.confined and b"\n" in child.claims:
                said, _, child.claims = child.claims.partition(b"\n")
                active, child.outer_pid = json.loads(said)
                child.confined = True
                self.active = self.active or [*active, *(["namespaces"] if self.namespaces else [])]
            if child.confined and b"\n" in child.claims:
                if child.output in child.open_pipes:
                    child.printed += _available(child.output)
                return ""
            if len(child.printed) + len(child.claims) > MOST_BYTES:
                return "flood"
        return "gone"

    def finish(self, child: Child, ending: str, request: dict[str, Any]) -> dict[str, Any]:
        """Parks the child or ends it; the answer, where `alive` says whether it lived to the block's end."""
        parked = 0
        alive = not ending and not _claims(child.claims, "memory")
        if alive and request["keep"] and self.may_park(child):
            self.last_parked = parked = self.last_parked + 1
            self.parked[parked] = child
        code = 0 if parked else self.end(child)
        claim = child.claims.partition(b"\n")[0]
        status, error = judge(ending, code, child.confined, claim, request["seconds"])
        stdout = child.printed.decode("utf-8", "replace")[: request["output_chars"]]
        child.printed = child.claims = b""  # the next children inherit what is here
        return {"status": status, "stdout": stdout, "error": error, "alive": alive, "parked": parked}

    def may_park(self, child: Child) -> bool:
        """Stops a child; whether it did stop, has one thread and holds little enough to be kept."""
        os.kill(child.pid, signal.SIGSTOP)
        deadline = time.monotonic() + 0.2
        try:
            while True:
                with open(f"/proc/{child.outer_pid}/stat") as stat:
                    fields = stat.read().rpartition(")")[2].split()
                if fields[0] == "T":
                    break
                if fields[0] == "Z" or time.monotonic() > deadline:
                    return False
                time.sleep(0.00005)
            threads, resident = int(fields[17]), int(fields[21]) * resource.getpagesize()
        except (OSError, ValueError, IndexError):
            return False
        if threads != 1 or resident - self.resident_bytes >= MOST_PARKED_BYTES:
            return False
        if not self.scratch:
            return True
        use = os.statvfs(self.scratch)  # also of files that are open and have no name
        return use.f_bfree == use.f_blocks and use.f_files - use.f_ffree == self.scratch_files

    def end(self, child: Child | None) -> int:
        """Kills a child, with all that it left; returns its exit code."""
        if child is None:
            return 0
        os.kill(child.pid, signal.SIGKILL)  # one that has closed its pipes could still run
        code = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        child.close()
        if self.scratch:
            folder = os.open(self.scratch, os.O_RDONLY | os.O_DIRECTORY)
            _empty(folder)
            os.close(folder)
        return code


def _empty(folder: int) -> None:
    """Removes all in an open folder, whatever its rights and however deep."""
    with os.scandir(folder) as entries:
        found = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in found:
        if not is_folder:
            os.unlink(name, dir_fd=folder)
            continue
        os.chmod(name, 0o700, dir_fd=folder)
        inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=folder)
        try:
            _empty(inner)
        finally:
            os.close(inner)
        os.rmdir(name, dir_fd=folder)


def seed(number: int) -> None:
    """Seeds every generator that a program may use without seeding it."""
    random.seed(number)
    if numpy := sys.modules.get("numpy.random"):
        numpy.seed(number % (1 << 32))
    if sympy := sys.modules.get("sympy.core.random"):
        sympy.seed(number)


def judge(ending: str, code: int, confined: bool, claim: bytes, seconds: float) -> tuple[str, str]:
    """Status and error of a block that has ended; "lost" where its child could not even begin."""
    if ending == "timeout" or code == -signal.SIGXCPU:
        return "timeout", f"TimeoutError: ran longer than {seconds:g} s"
    if ending == "flood":
        return "error", f"OutputError: printed more than {MOST_BYTES} bytes"
    if not confined:
        return "lost", "the child could not confine itself"
    try:
        status, error = json.loads(claim)
        if status in CLAIMS and isinstance(error, str):
            return status, error[:MOST_ERROR].encode("utf-8", "replace").decode("utf-8")
    except (ValueError, TypeError, RecursionError):
        pass
    reason = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return ("ok", "") if code == 0 and not claim else ("error", f"the program {reason}")


def _claims(said: bytes, status: str) -> bool:
    return said.startswith(f'["{status}"'.encode())


def run_block(code: str, names: dict[str, Any]) -> tuple[str, str]:
    """Runs one block as a notebook does, its last expression shown; returns status and error line."""
    try:
        tree = ast.parse(code, "<block>")
        last = tree.body[-1] if tree.body else None
        if isinstance(last, ast.Expr):
            tree.body.pop()
        exec(compile(tree, "<block>", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "<block>", "eval"), names)
            if value is not None:
                print(repr(value))
    except SystemExit as error:
        return ("ok", "") if error.code in (None, 0) else ("error", f"SystemExit: {error.code}"[:MOST_ERROR])
    except BaseException as error:
        refused = isinstance(error, PermissionError)
        status = "memory" if isinstance(error, MemoryError) else "refused" if refused else "error"
        return status, traceback.format_exception_only(error)[-1].strip()[:MOST_ERROR]
    return "ok", ""


def _outer_pid() -> str:
    try:
        return os.readlink("/proc/self")
    except OSError:
        return ""


def _available(pipe: int) -> bytes:
    """What can be read at once, without waiting; empty at the end of the pipe or when nothing is there."""
    try:
        return os.read(pipe, 1 << 18)
    except BlockingIOError:
        return b""


def _sent(pipe: int, data: bytes) -> bytes:
    """Writes what the pipe takes; the rest, nothing where nobody reads any more."""
    try:
        return data[os.write(pipe, data) :]
    except BlockingIOError:
        return data
    except BrokenPipeError:
        return b""


def _exactly(pipe: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = os.read(pipe, size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


def _write(pipe: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(pipe, view) :]


def _send(pipe: int, message: dict[str, Any]) -> None:
    data = json.dumps(message).encode()
    _write(pipe, len(data).to_bytes(4, "big") + data)


def serve() -> None:
    """Answers requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = Server(**json.loads(sys.argv[1]))
    probe = {"blocks": [""], "seconds": 10.0, "memory_mib": 64, "seed": 0, "output_chars": 0}
    server.run(probe | {"parked": 0, "drop": [], "keep": False})
    _send(server.answers, {"active": server.active})
    while True:
        try:
            request = json.loads(_exactly(server.input, int.from_bytes(_exactly(server.input, 4), "big")))
        except EOFError:
            leave(server.folder)
            return
        _send(
            server.answers, server.run(request)
        )  # no name for the answer: the next children would inherit it


if __name__ == "__main__":
    serve()
