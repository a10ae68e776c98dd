"""A warm server that forks one confined child for each program; imports nothing of mathloop.

Speaks length-prefixed JSON (4 bytes, big-endian) on stdin and stdout. Its first message says which layers of
isolation are active. It ends when stdin does or when its parent is gone, and its child dies with it.

What a child says before it runs anything, that it is confined, can be relied on. What it says afterwards is
the program's own claim: it shares a process with the program, which may write to the same pipe.
"""

from __future__ import annotations

import ast
import ctypes
import gc
import importlib
import json
import os
import platform
import random
import resource
import select
import signal
import struct
import sys
import time
import traceback
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP = 1, 38, 22
LANDLOCK_CREATE, LANDLOCK_ADD, LANDLOCK_RESTRICT = 444, 445, 446
READ_FILE, READ_DIR = 1 << 2, 1 << 3
EPERM, ENOSYS = 1, 38
MOST_BYTES = 1 << 18
"""A program that prints more than this is killed; what is kept of it is far less."""
MOST_ERROR = 2000
"""Characters of an error's last line."""
MOST_THREADS = 64
MOST_FILES = 64
CLAIMS = ("ok", "error", "memory", "refused")
"""What a child may say of its program; that it ran out of time, its server says."""

# Sockets, programs, processes, signals, tracing, namespaces, mounts, kernel interfaces, shared memory, modes,
# owners, times and attributes of files (Landlock does not cover them); prctl,
# so that the child cannot outlive its server.
DENIED = {
    "x86_64": (
        41, 53, 59, 322, 101, 62, 200, 234, 129, 297, 57, 58, 165, 166, 155, 161, 272, 308, 321, 310, 311,
        425, 434, 424, 438, 298, 323, 248, 249, 250, 175, 313, 246, 169, 29, 64, 68, 157, 428, 429, 430, 442,
        90, 91, 92, 93, 94, 260, 268, 452, 132, 235, 261, 280, 188, 189, 190, 197, 198, 199,
    ),
    "aarch64": (
        198, 199, 221, 281, 117, 129, 130, 131, 138, 240, 40, 39, 41, 51, 97, 268, 280, 270, 271, 425, 434,
        424, 438, 241, 282, 217, 218, 219, 105, 273, 104, 142, 194, 190, 186, 167, 428, 429, 430, 442,
        52, 53, 54, 55, 88, 452, 5, 6, 7, 14, 15, 16,
    ),
}  # fmt: skip
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
CLONE = {"x86_64": 56, "aarch64": 220}
CLONE3 = 435
CLONE_THREAD = 0x10000


class Filter(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("code", ctypes.c_char_p))


def seccomp_program(machine: str) -> bytes:
    """The BPF program that answers the denied system calls with EPERM; empty for an unknown machine."""
    if machine not in DENIED:
        return b""
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    allow, kill, deny = 0x7FFF0000, 0x80000000, 0x00050000

    def line(code: int, true: int, false: int, value: int) -> bytes:
        return struct.pack("=HBBI", code, true, false, value)

    lines = [
        line(load, 0, 0, 4),
        line(equal, 1, 0, AUDIT[machine]),
        line(give, 0, 0, kill),
        line(load, 0, 0, 0),
    ]
    if machine == "x86_64":  # the x32 calls have numbers of their own
        lines += [line(at_least, 0, 1, 0x40000000), line(give, 0, 0, deny | EPERM)]
    for number in DENIED[machine]:
        lines += [line(equal, 0, 1, number), line(give, 0, 0, deny | EPERM)]
    lines += [line(equal, 0, 1, CLONE3), line(give, 0, 0, deny | ENOSYS)]  # glibc then falls back to clone
    lines += [line(equal, 0, 3, CLONE[machine]), line(load, 0, 0, 16), line(any_bit, 1, 0, CLONE_THREAD)]
    lines += [line(give, 0, 0, deny | EPERM), line(give, 0, 0, allow)]
    return b"".join(lines)


def readable_paths() -> list[str]:
    """Where the interpreter, its packages and the system's libraries lie."""
    paths = [sys.prefix, sys.base_prefix, sys.exec_prefix, os.path.dirname(os.__file__)]
    paths += [
        "/usr/lib",
        "/lib",
        "/lib64",
        "/usr/share/zoneinfo",
        "/etc/ld.so.cache",
        "/dev/null",
        "/dev/urandom",
    ]
    return [
        path for path in dict.fromkeys(map(os.path.realpath, paths)) if path != "/" and os.path.exists(path)
    ]


def landlock_rules() -> int:
    """A Landlock ruleset (file descriptor) that allows reading `readable_paths` only; -1 without Landlock."""
    version = LIBC.syscall(LANDLOCK_CREATE, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return -1
    files = (1 << (13 if version < 2 else 14 if version < 3 else 15 if version < 5 else 16)) - 1
    attributes = struct.pack("=Q", files)
    if version >= 4:
        attributes += struct.pack("=Q", 3)  # TCP bind and connect
    if version >= 6:
        attributes += struct.pack("=Q", 3)  # abstract sockets and signals
    rules: int = LIBC.syscall(LANDLOCK_CREATE, attributes, ctypes.c_size_t(len(attributes)), 0)
    for path in readable_paths() if rules >= 0 else ():
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        access = READ_FILE | READ_DIR if os.path.isdir(path) else READ_FILE
        LIBC.syscall(LANDLOCK_ADD, rules, 1, struct.pack("=Qi", access, place), 0)
        os.close(place)
    return rules


def limit(kind: int, value: int) -> None:
    """Lowers one resource limit, soft and hard."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


class Server:
    """The warm process: modules loaded, rules prepared."""

    def __init__(self, preload: list[str]) -> None:
        for module in preload:
            importlib.import_module(module)
        self.parent = os.getppid()
        self.pid = os.getpid()
        self.rules = landlock_rules()
        self.program = seccomp_program(platform.machine())
        self.active: list[str] = []
        with open("/proc/self/statm") as statm:
            self.own_bytes = int(statm.read().split()[0]) * resource.getpagesize()
        os.environ.clear()
        gc.collect()
        gc.freeze()

    def confine(self, seconds: float, memory_mib: int) -> list[str]:
        """Gives up, in the child and for good, what a program does not need; returns the active layers."""
        limit(resource.RLIMIT_AS, self.own_bytes + memory_mib * (1 << 20))
        limit(resource.RLIMIT_CPU, int(seconds) + 2)
        limit(resource.RLIMIT_NPROC, MOST_THREADS)
        limit(resource.RLIMIT_FSIZE, 0)
        limit(resource.RLIMIT_NOFILE, MOST_FILES)
        limit(resource.RLIMIT_CORE, 0)
        active = ["limits"]
        header = struct.pack("=Ii", 0x20080522, 0)
        if LIBC.capset(header, bytes(24)) == 0:  # root could raise its limits again
            active.append("no capabilities")
        if LIBC.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
            active.append("no new privileges")
        if self.rules >= 0 and LIBC.syscall(LANDLOCK_RESTRICT, self.rules, 0) == 0:
            active.append("landlock")
        if self.rules >= 0:
            os.close(self.rules)
        code = Filter(len(self.program) // 8, self.program)
        if self.program and LIBC.prctl(PR_SET_SECCOMP, 2, ctypes.byref(code), 0, 0) == 0:
            active.append("seccomp")
        return active

    def child(self, request: dict[str, Any], output: int, result: int) -> None:
        """Writes the active layers to `result`, runs the blocks, writes how the last ended. Never returns."""
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != self.pid:
            os._exit(1)
        os.setsid()
        null = os.open("/dev/null", os.O_RDWR)
        for target in (0, 1, 2):
            os.dup2(null, target)
        kept = sorted({null, output, result, self.rules} - {-1})
        for low, high in zip([2, *kept], [*kept, 256], strict=True):
            os.closerange(low + 1, high)
        active = self.confine(request["seconds"], request["memory_mib"])
        if self.active and active != self.active:
            os._exit(1)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        random.seed(request["seed"])
        os.write(result, json.dumps(active).encode() + b"\n")
        names: dict[str, Any] = {"__name__": "__main__", "__builtins__": __builtins__}
        *earlier, last = request["blocks"]
        for block in earlier:
            run_block(block, names)
        sys.stdout.flush()
        os.dup2(output, 1)
        ended = run_block(last, names)
        try:
            sys.stdout.flush()
        finally:
            os.write(result, json.dumps(ended).encode())
            os._exit(0)

    def run(self, request: dict[str, Any]) -> dict[str, Any]:
        """Forks a child for the request, reads what it prints and kills it at the deadline."""
        started = time.monotonic()
        deadline = started + request["seconds"]
        output, output_in = os.pipe()
        result, result_in = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                self.child(request, output_in, result_in)
            finally:
                os._exit(1)
        os.close(output_in)
        os.close(result_in)
        kept = {output: b"", result: b""}
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(result, select.POLLIN)
        poll.register(0, 0)  # the parent's end closing
        ending = ""
        waiting = {output, result}
        while waiting and not ending:
            left = deadline - time.monotonic()
            events = poll.poll(min(max(left, 0), 1) * 1000)
            if left <= 0:
                ending = "timeout"
            if os.getppid() != self.parent or any(source == 0 for source, _ in events):
                os._exit(0)  # the child follows
            for source, _ in events:
                data = os.read(source, 65536)
                kept[source] += data
                if not data:
                    poll.unregister(source)
                    waiting.discard(source)
                if len(kept[source]) > MOST_BYTES:
                    ending = "flood"
        os.kill(pid, signal.SIGKILL)  # a child that has closed its pipes could still run
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        os.close(output)
        os.close(result)
        confined, _, claim = kept[result].partition(b"\n")
        status, error = judge(ending, code, bool(confined), claim, request["seconds"])
        stdout = kept[output].decode("utf-8", "replace")[: request["output_chars"]]
        seconds = time.monotonic() - started
        if not self.active and confined:
            self.active = json.loads(confined)
        return {"status": status, "stdout": stdout, "error": error, "seconds": seconds}


def judge(ending: str, code: int, confined: bool, claim: bytes, seconds: float) -> tuple[str, str]:
    """Status and error of a child that is gone; "lost" where it could not even begin."""
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


def receive(stream: Any) -> dict[str, Any]:
    """The next request; raises EOFError at the end of the stream."""
    size = stream.read(4)
    if len(size) < 4:
        raise EOFError
    request: dict[str, Any] = json.loads(stream.read(int.from_bytes(size, "big")))
    return request


def send(stream: Any, answer: dict[str, Any]) -> None:
    """Writes one length-prefixed answer."""
    data = json.dumps(answer).encode()
    stream.write(len(data).to_bytes(4, "big") + data)
    stream.flush()


def serve() -> None:
    """Answers requests until stdin ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server = Server(sys.argv[1:])
    probe = {"blocks": [""], "seconds": 10.0, "memory_mib": 64, "seed": 0, "output_chars": 0}
    server.run(probe)
    send(sys.stdout.buffer, {"active": server.active})
    while True:
        try:
            request = receive(sys.stdin.buffer)
        except EOFError:
            return
        send(sys.stdout.buffer, server.run(request))


if __name__ == "__main__":
    serve()
