"""A warm server that forks one confined child per program, and keeps the children of unfinished solutions.

Run as a script, so that it loads nothing of mathloop but its neighbors in this folder. Its stdin and stdout
carry framed JSON messages (`pipes.py`): which layers of isolation are active, then one answer per request.
It ends when its input does, and its children die with it.

What a child says before it runs anything, that it is confined, can be relied on. What it says afterwards is
the program's own claim: it shares a process with the program, which may write to the same pipe.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import resource
import signal
import sys
import time
import types
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # its neighbors, without all that mathloop.sandbox itself imports
    _ROOM = Path(__file__).resolve().parent
    for _name, _folder in (("mathloop", _ROOM.parent), ("mathloop.sandbox", _ROOM)):
        sys.modules[_name] = types.ModuleType(_name)
        sys.modules[_name].__path__ = [str(_folder)]

from mathloop.sandbox.blocks import Program, seed_generators
from mathloop.sandbox.children import Child, Ending, judge
from mathloop.sandbox.confinement import Confinement, die_with_parent, enter_namespaces, leave
from mathloop.sandbox.pipes import read_exactly, read_message, write_message
from mathloop.sandbox.preloading import preload

MOST_PARKED_BYTES = 32 << 20
"""A child that holds more memory of its own than this, or a file, is not kept for its next block."""
_FORK = ctypes.PyDLL(None).fork
"""Python's own fork also makes locks anew and seeds generators, for threads that a server does not have: it
touches 200 pages, which is a quarter of a run's time."""
NO_FORK = {"status": "lost", "error": "the system gives no process", "parked": 0} | {
    "stdout": "", "alive": False, "seconds": 0.0
}  # fmt: skip
LOWEST_OWN_FILE, HIGHEST_FILE = 256, 1024


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
        os.chdir(scratch)  # again: the scratch is mounted over the folder that this process was started in
        use = os.statvfs(scratch)
        self.scratch_files = use.f_files - use.f_ffree
        self.confinement = Confinement(self.scratch, without)
        self.star_imported = preload(modules)
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
        """Reports that it is confined, runs block after block and claims how each ended. Never returns."""
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
        seed_generators(request["seed"])
        os.write(result, json.dumps([active, outer]).encode() + b"\n")
        block = request["blocks"][0]
        program = Program(self.star_imported)
        while True:
            claim = program.run(block)
            try:
                sys.stdout.flush()
            finally:
                os.write(result, json.dumps(claim).encode() + b"\n")
            header = os.read(code, 4)
            if not header:
                os._exit(0)
            block = read_exactly(code, int.from_bytes(header, "big")).decode("utf-8", "surrogatepass")

    # In the server

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Runs the last of the request's blocks in a parked child, or all of them in a fresh one."""
        for number in request["drop"]:
            self.end(self.parked.pop(number, None))
        started = time.monotonic()
        child = self.parked.pop(request["parked"], None)
        blocks = request["blocks"][-1:]
        ending: Ending = "claimed"
        if child is None:
            child, blocks = self.fork(request) or self.fork_alone(request), request["blocks"][1:]
            if child is None:
                return NO_FORK
            ending = self.watch(child, started + request["seconds"])
        for block in blocks:
            if ending != "claimed":
                break
            child.send(block, request["seconds"])
            ending = self.watch(child, time.monotonic() + request["seconds"])
        return self.finish(child, ending, request) | {"seconds": time.monotonic() - started}

    def fork_alone(self, request: dict[str, Any]) -> Child | None:
        """A fresh child, after all parked ones were ended: the system has run out of processes or memory."""
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

    def watch(self, child: Child, deadline: float) -> Ending:
        """Waits for the end of a child's block. Ends this process where its caller is gone."""
        ending = child.watch(deadline, self.input)
        if ending == "caller gone":
            leave(self.folder)
            os._exit(0)  # the child follows
        if child.active and not self.active:
            self.active = [*child.active, *(["namespaces"] if self.namespaces else [])]
        return ending

    def finish(self, child: Child, ending: Ending, request: dict[str, Any]) -> dict[str, Any]:
        """Parks the child or ends it; the answer, where `alive` says whether it lived to the block's end."""
        parked = 0
        alive = ending == "claimed" and not child.claims_memory()
        if alive and request["keep"] and self.may_park(child):
            self.last_parked = parked = self.last_parked + 1
            self.parked[parked] = child
        exit_code = 0 if parked else self.end(child)
        status, error = judge(child, ending, exit_code, request["seconds"])
        stdout = child.printed.decode("utf-8", "replace")[: request["output_chars"]]
        child.printed = child.claims = b""  # the next children inherit what is here
        return {"status": status, "stdout": stdout, "error": error, "alive": alive, "parked": parked}

    def may_park(self, child: Child) -> bool:
        """Stops a child; whether it stopped, has one thread and holds little enough to be kept."""
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
        """Kills a child and removes what it left; returns its exit code."""
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
    """Removes everything in an open folder, whatever its rights and depth."""
    with os.scandir(folder) as entries:
        names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
    for name, is_folder in names:
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


def _outer_pid() -> str:
    try:
        return os.readlink("/proc/self")
    except OSError:
        return ""


def serve() -> None:
    """Answers requests until the input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = Server(**json.loads(sys.argv[1]))
    probe = {"blocks": [""], "seconds": 10.0, "memory_mib": 64, "seed": 0, "output_chars": 0}
    server.run(probe | {"parked": 0, "drop": [], "keep": False})
    write_message(server.answers, {"active": server.active})
    while True:
        try:
            request = read_message(server.input)
        except EOFError:
            leave(server.folder)
            return
        # The answer gets no name: the next children would inherit it.
        write_message(server.answers, server.run(request))


if __name__ == "__main__":
    serve()
