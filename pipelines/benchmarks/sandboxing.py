"""`mathloop benchmark sandbox`: runs a second beside `python -c`, hostile programs, what many runs leave."""

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
"""The sandbox and its peer take turns; figures are medians over these."""
TURN_SECONDS = 1.0
STARTS = 5
RUNS, LONG_RUNS = 1_000, 10_000
HOSTILE_SECONDS = 2.0
"""Wall time that a hostile program is given."""
ENDLESS_EVERY = 250
"""Among many runs, each of this number is one that must be stopped, after a second."""
MIB = 1 << 20


class Program(NamedTuple):
    """What is run: `before` is an earlier block of the same solution, not timed in the sandbox."""

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
    ("full", "import numpy, sympy"),
)
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
"""Programs of which many are run, and how each ends."""


def run(long: bool) -> None:
    """Measures and prints; raises SandboxError where the sandbox cannot be started."""
    where = machine()
    with Progress() as progress:
        speeds = [_speed(program, progress) for program in PROGRAMS]
        starts = [_start(name, code, progress) for name, code in STARTING]
        with Sandbox() as sandbox:
            active = sandbox.isolation()
        endings, healthy = _hostile(progress)
        left = _left(LONG_RUNS if long else RUNS, progress)
    print(f"one worker on {where}; peer: a fresh python -c of the same program, not isolated")
    print("\nruns")
    figures = ("runs/s", "p50 ms", "p99 ms")
    heads = [name for figure in figures for name in (figure, "peer")]
    print(aligned(("program", *heads[:2], "ratio", *heads[2:]), speeds))
    print("\nstarts")
    print(aligned(("server", "ms", "peer", "the peer imports"), starts, left=(0, 3)))
    print(f"\nisolation: {', '.join(active)}{_missing(active)}; peer: none")
    print("\nhostile programs")
    print(aligned(("program", "held", "seconds", "what came of it"), endings, left=(0, 1, 3)))
    print(healthy)
    print(f"\n{left}")


def _missing(active: Sequence[str]) -> str:
    missing = [layer for layer in LAYERS if layer not in active]
    return f"; this machine does not give {', '.join(missing)}" if missing else ""


# Runs a second


def _speed(program: Program, progress: Progress) -> tuple[str, ...]:
    """A row: runs a second of both, the ratio, and the latencies of one run."""
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
                raise SandboxError(f"{program.name}: {execution} where python -c printed {printed!r}")
            return took

        def peer() -> float:
            started = time.perf_counter()
            _python(code)
            return time.perf_counter() - started

        ours()  # starts the servers
        times: list[list[list[float]]] = [[], []]
        for turn in range(1, TURNS + 1):
            for one, own in zip((ours, peer), times, strict=True):
                progress.detail(f"turn {turn} of {TURNS}")
                own.append(_turn(one))
    rates = [median(len(turn) / sum(turn) for turn in own) for own in times]
    cells = [f"{rates[0]:,.0f}", f"{rates[1]:,.1f}", f"{rates[0] / rates[1]:.1f}×"]
    for percent in (50, 99):
        cells += [f"{1000 * _percentile([t for turn in own for t in turn], percent):.2f}" for own in times]
    return program.name, *cells


def _turn(one: Callable[[], float]) -> list[float]:
    """Seconds of each run in a turn."""
    times: list[float] = []
    end = time.perf_counter() + TURN_SECONDS
    while not times or time.perf_counter() < end:
        times.append(one())
    return times


def _percentile(times: Sequence[float], percent: int) -> float:
    return sorted(times)[math.ceil(percent / 100 * len(times)) - 1]


def _python(code: str) -> str:
    """What a fresh, unisolated process prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    if done.returncode:
        raise SandboxError(f"python -c failed: {shortened(done.stderr, 200, end=True)}")
    return done.stdout


def _start(name: str, code: str, progress: Progress) -> tuple[str, ...]:
    """A row: milliseconds until a server has run its first program, and until the peer has run it."""
    progress.step(f"starts of: {name} server")
    ours, peer = [], []
    for _ in range(STARTS):
        started = time.perf_counter()
        with Sandbox() as sandbox:
            begun = time.perf_counter() if name == "full" else started  # the bare one is there already
            sandbox.run(code)
            ours.append(time.perf_counter() - begun)
        started = time.perf_counter()
        _python(code)
        peer.append(time.perf_counter() - started)
    return name, f"{1000 * median(ours):,.0f}", f"{1000 * median(peer):,.0f}", code.removeprefix("import ")


# Hostile programs


def _hostile(progress: Progress) -> tuple[list[tuple[str, ...]], str]:
    """Rows, and a line about the pool's health."""
    with Sandbox(SandboxConfig(seconds=HOSTILE_SECONDS)) as sandbox:
        endings = run_hostile(sandbox, programs(), progress)
    rows: list[tuple[str, ...]] = [
        (each.name, "yes" if each.held else "NO", f"{each.seconds:.2f}", shortened(each.said, 70))
        for each in endings
    ]
    sick = [each.name for each in endings if not each.healthy]
    health = f"after each of them the pool ran a program: {len(endings) - len(sick)} of {len(endings)} times"
    return rows, health + (f"; NOT after: {', '.join(sick)}" if sick else "")


# What many runs leave


@dataclass(frozen=True)
class Held:
    """What this process holds at a moment."""

    processes: int
    """Below this one."""
    files: int
    """Open file descriptors of this one."""
    mib: float
    """Resident memory of the processes below this one."""

    @classmethod
    def now(cls) -> Held:
        below = _below(os.getpid())
        return cls(len(below), len(os.listdir("/proc/self/fd")), sum(map(_resident, below)) / MIB)

    def row(self, when: str) -> tuple[str, ...]:
        return when, str(self.processes), str(self.files), f"{self.mib:.1f}"


def _left(runs: int, progress: Progress) -> str:
    """Table of what is held before, after and without the sandbox, and how its runs ended."""
    progress.step(f"{runs:,} runs")
    outside = Held.now()
    odd: Counter[str] = Counter()
    with Sandbox(SandboxConfig(seconds=1.0)) as sandbox:
        _harmless(sandbox)
        before, started = Held.now(), time.perf_counter()
        for number in range(1, runs + 1):
            said, expected = _one_of_many(sandbox, number)
            if said.status != expected:
                odd[f"{said.status} in place of {expected}"] += 1
            progress.detail(f"{number:,}")
        seconds = time.perf_counter() - started
        _harmless(sandbox)
        after = Held.now()
    held = [before.row("before"), after.row(f"after {runs:,} runs"), Held.now().row("sandbox closed")]
    ended = "; ".join(f"{count:,} {what}" for what, count in odd.items()) or "each ended as it should"
    table = aligned(
        ("held", "processes", "file descriptors", "MiB of servers"), [outside.row("without"), *held]
    )
    return f"{runs:,} runs in {seconds:.1f} s, one in nine of them a session of two blocks: {ended}\n{table}"


def _harmless(sandbox: Sandbox) -> None:
    """Has both servers run; with that, they end the processes of sessions that are over."""
    for _, code in STARTING:
        sandbox.run(code)


def _one_of_many(sandbox: Sandbox, number: int) -> tuple[Execution, str]:
    """Runs a program; its Execution and the status that it should have."""
    if number % ENDLESS_EVERY == 0:
        return sandbox.run("while True: pass"), "timeout"
    if number % (len(MANY) + 1) == 0:
        with sandbox.session() as session:
            session.run("x = 6")
            return session.run("x * 7"), "ok"
    code, expected = MANY[number % (len(MANY) + 1) - 1]
    return sandbox.run(code), expected


def _below(pid: int) -> list[int]:
    """The processes that descend from this one."""
    parents = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError, ValueError):
                parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for above in found:
        found += [child for child, parent in parents.items() if parent == above]
    return found[1:]


def _resident(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize()
    return 0
