"""`mathloop benchmark sandbox`: speed compared with `python -c`, hostile programs, resource leaks."""

from __future__ import annotations

import math
import os
import resource
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import NamedTuple

from mathloop.errors import SandboxError
from mathloop.sandbox import Execution, Sandbox, SandboxConfig
from mathloop.sandbox.confinement import LAYERS
from pipelines.benchmarks.hostile import programs, run_hostile
from pipelines.benchmarks.printing import Progress, aligned, machine, shortened

TURNS = 3
"""The sandbox and its peer alternate; results are medians over the turns."""
TURN_SECONDS = 1.0
STARTS = 5
RUNS, LONG_RUNS = 1_000, 10_000
HOSTILE_SECONDS = 2.0
"""Wall-time limit of a hostile program."""
ENDLESS_EVERY = 250
"""In the leak test, every run with a multiple of this number must be stopped after a second."""
MIB = 1 << 20


class Program(NamedTuple):
    """A program; `before` is an earlier block of the same solution, not timed in the sandbox."""

    name: str
    code: str
    before: str = ""


PROGRAMS = (
    Program("trivial", "print(6 * 7)"),
    Program("numpy", "import numpy as np\nprint((np.arange(10_000) ** 2).sum())"),
    Program("sympy", "import sympy\nx = sympy.symbols('x')\nprint(sympy.factor(x**2 - 5 * x + 6))"),
    Program("sympy, all names", "from sympy import *\nx = symbols('x')\nprint(factor(x**12 - 1))"),
    Program(
        "second block", "print(p.subs(x, 2))", before="from sympy import *\nx = symbols('x')\np = x**12 - 1"
    ),
)
STARTING = (
    ("bare", "pass"),
    ("with numpy", "import numpy"),
    ("with sympy", "import sympy"),
    ("full", "import numpy, sympy"),
)
"""A program for each server, which has those modules loaded that the program names."""
MANY = (
    ("print(6 * 7)", "ok"),
    ("1 / 0", "error"),
    ("import numpy as np; print(np.arange(5).sum())", "ok"),
    ("from sympy import *; factor(symbols('x')**6 - 1)", "ok"),
    ("raise SystemExit", "ok"),
    ("x = bytearray(1 << 30)", "memory"),
    ("import os; os.fork()", "refused"),
    ("import threading; threading.Thread(target=print).start()", "ok"),
)
"""Programs of the leak test, and the expected status of each."""


def run(long: bool) -> None:
    """Measures and prints; raises SandboxError if the sandbox cannot be started."""
    where = machine()
    with Progress() as progress:
        speeds = [_speed(program, progress) for program in PROGRAMS]
        starts = [_start(name, code, progress) for name, code in STARTING]
        with Sandbox() as sandbox:
            active = sandbox.isolation()
        outcomes, healthy = _hostile(progress)
        leaks = _leaks(LONG_RUNS if long else RUNS, progress)
    print(f"one worker on {where}; peer: a fresh python -c of the same program, not isolated")
    print("\nruns")
    figures = ("runs/s", "p50 ms", "p99 ms")
    heads = [name for figure in figures for name in (figure, "peer")]
    print(aligned(("program", *heads[:2], "ratio", *heads[2:]), speeds))
    print("\nstarts")
    print(aligned(("server", "ms", "peer", "the peer imports"), starts, left=(0, 3)))
    print(f"\nisolation: {', '.join(active)}{_missing(active)}; peer: none")
    print("\nhostile programs")
    print(aligned(("program", "contained", "seconds", "outcome"), outcomes, left=(0, 1, 3)))
    print(healthy)
    print(f"\n{leaks}")


def _missing(active: Sequence[str]) -> str:
    missing = [layer for layer in LAYERS if layer not in active]
    return f"; not available on this machine: {', '.join(missing)}" if missing else ""


# Runs per second


def _speed(program: Program, progress: Progress) -> tuple[str, ...]:
    """A row: runs per second of both sides, the ratio, and the latencies of one run."""
    progress.step(f"runs of: {program.name}")
    code = f"{program.before}\n{program.code}"
    printed = _python(code)
    with Sandbox() as sandbox:

        def ours() -> float:
            with sandbox.session() as session:
                if program.before:
                    session.run(program.before)
                started = time.perf_counter()
                execution = session.run(program.code) if program.before else sandbox.run(program.code)
                took = time.perf_counter() - started
            if execution.stdout != printed:
                raise SandboxError(f"{program.name}: {execution}, but python -c printed {printed!r}")
            return took

        def peer() -> float:
            started = time.perf_counter()
            _python(code)
            return time.perf_counter() - started

        ours()  # starts the servers
        times: list[list[list[float]]] = [[], []]
        for turn in range(1, TURNS + 1):
            for run_once, own in zip((ours, peer), times, strict=True):
                progress.detail(f"turn {turn} of {TURNS}")
                own.append(_turn(run_once))
    rates = [median(len(turn) / sum(turn) for turn in own) for own in times]
    cells = [f"{rates[0]:,.0f}", f"{rates[1]:,.1f}", f"{rates[0] / rates[1]:.1f}×"]
    for percent in (50, 99):
        cells += [f"{1000 * _percentile([t for turn in own for t in turn], percent):.2f}" for own in times]
    return program.name, *cells


def _turn(run_once: Callable[[], float]) -> list[float]:
    """Seconds per run in one turn."""
    times: list[float] = []
    end = time.perf_counter() + TURN_SECONDS
    while not times or time.perf_counter() < end:
        times.append(run_once())
    return times


def _percentile(times: Sequence[float], percent: int) -> float:
    return sorted(times)[math.ceil(percent / 100 * len(times)) - 1]


def _python(code: str) -> str:
    """The output of a fresh process without isolation."""
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if process.returncode:
        raise SandboxError(f"python -c failed: {shortened(process.stderr, 200, end=True)}")
    return process.stdout


def _start(name: str, code: str, progress: Progress) -> tuple[str, ...]:
    """A row: milliseconds until a new server has run its first program, and until the peer has run it."""
    progress.step(f"starts of: {name} server")
    ours, peer = [], []
    for _ in range(STARTS):
        started = time.perf_counter()
        with Sandbox() as sandbox:
            # The bare server starts with the sandbox, another one with the first program that needs it.
            since = started if name == "bare" else time.perf_counter()
            sandbox.run(code)
            ours.append(time.perf_counter() - since)
        started = time.perf_counter()
        _python(code)
        peer.append(time.perf_counter() - started)
    return name, f"{1000 * median(ours):,.0f}", f"{1000 * median(peer):,.0f}", code.removeprefix("import ")


# Hostile programs


def _hostile(progress: Progress) -> tuple[list[tuple[str, ...]], str]:
    """Rows of the table, and a line about the pool's health."""
    with Sandbox(SandboxConfig(seconds=HOSTILE_SECONDS)) as sandbox:
        outcomes = run_hostile(sandbox, programs(), progress)
    rows: list[tuple[str, ...]] = [
        (each.name, "yes" if each.contained else "NO", f"{each.seconds:.2f}", shortened(each.detail, 70))
        for each in outcomes
    ]
    broken = [each.name for each in outcomes if not each.healthy]
    healthy = len(outcomes) - len(broken)
    health = f"after each of them the pool ran a program: {healthy} of {len(outcomes)} times"
    return rows, health + (f"; NOT after: {', '.join(broken)}" if broken else "")


# Resource leaks


@dataclass(frozen=True)
class Usage:
    """Resources of this process and its children at one moment."""

    processes: int
    """Descendants of this process."""
    files: int
    """Open file descriptors of this process."""
    mib: float
    """Resident memory of the descendants."""

    @classmethod
    def now(cls) -> Usage:
        children = _descendants(os.getpid())
        return cls(len(children), len(os.listdir("/proc/self/fd")), sum(map(_resident, children)) / MIB)

    def row(self, when: str) -> tuple[str, ...]:
        return when, str(self.processes), str(self.files), f"{self.mib:.1f}"


def _leaks(runs: int, progress: Progress) -> str:
    """A table of resources before, after and without the sandbox, and the outcome of the runs."""
    progress.step(f"{runs:,} runs")
    outside = Usage.now()
    unexpected: Counter[str] = Counter()
    with Sandbox(SandboxConfig(seconds=1.0)) as sandbox:
        _harmless(sandbox)
        before, started = Usage.now(), time.perf_counter()
        for number in range(1, runs + 1):
            execution, expected = _one_of_many(sandbox, number)
            if execution.status != expected:
                unexpected[f"{execution.status} instead of {expected}"] += 1
            progress.detail(f"{number:,}")
        seconds = time.perf_counter() - started
        _harmless(sandbox)
        after = Usage.now()
    usage = [before.row("before"), after.row(f"after {runs:,} runs"), Usage.now().row("sandbox closed")]
    result = "; ".join(f"{count:,} {what}" for what, count in unexpected.items()) or "all ended as expected"
    table = aligned(
        ("moment", "processes", "file descriptors", "MiB of servers"), [outside.row("no sandbox"), *usage]
    )
    return f"{runs:,} runs in {seconds:.1f} s, one in nine of them a session of two blocks: {result}\n{table}"


def _harmless(sandbox: Sandbox) -> None:
    """Runs a program on each server, upon which it ends the processes of closed sessions."""
    for _, code in STARTING:
        sandbox.run(code)


def _one_of_many(sandbox: Sandbox, number: int) -> tuple[Execution, str]:
    """Runs a program; returns its Execution and the expected status."""
    if number % ENDLESS_EVERY == 0:
        return sandbox.run("while True: pass"), "timeout"
    if number % (len(MANY) + 1) == 0:
        with sandbox.session() as session:
            session.run("x = 6")
            return session.run("x * 7"), "ok"
    code, expected = MANY[number % (len(MANY) + 1) - 1]
    return sandbox.run(code), expected


def _descendants(pid: int) -> list[int]:
    """The ids of all descendants of a process."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, ValueError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    family = [pid]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family[1:]


def _resident(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    return 0
