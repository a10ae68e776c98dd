"""`mathloop benchmark sandbox`: every figure stands beside its peer's, and what is not held is told."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import pytest

from mathloop.errors import SandboxError
from mathloop.sandbox import Sandbox, SandboxConfig
from pipelines.benchmarks import hostile, sandboxing
from pipelines.benchmarks.printing import Progress, aligned, shortened
from pipelines.benchmarks.sandboxing import MANY, PROGRAMS, Usage
from pipelines.cli import app


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"TURN_SECONDS": 0, "TURNS": 1, "STARTS": 1, "HOSTILE_SECONDS": 0.5}.items():
        monkeypatch.setattr(sandboxing, name, value)
    monkeypatch.setattr(sandboxing, "RUNS", 2 * (len(MANY) + 1))
    monkeypatch.setattr(sandboxing, "LONG_RUNS", 3 * (len(MANY) + 1))
    monkeypatch.setattr(sandboxing, "ENDLESS_EVERY", 10)


@pytest.mark.slow
def test_figures_stand_beside_the_peers(capsys: pytest.CaptureFixture[str]) -> None:
    app(["benchmark", "sandbox"], standalone_mode=False)
    said = capsys.readouterr()
    lines = said.out.splitlines()
    for program in PROGRAMS:
        (line,) = (line for line in lines if line.startswith(f"{program.name}  "))
        ours, peer, ratio, *latencies = line.removeprefix(program.name).split()
        assert float(ours.replace(",", "")) > 0
        assert float(peer) > 0
        assert ratio.endswith("×")
        assert len(latencies) == 4
    assert sum(line.startswith(("bare  ", "full  ")) for line in lines) == 2
    (isolation,) = (line for line in lines if line.startswith("isolation: "))
    assert "seccomp" in isolation
    names = hostile.programs()
    assert len(names) >= 15
    for name in names:
        (line,) = (line for line in lines if line.startswith(f"{name}  "))
        assert line.removeprefix(name).split()[0] == "yes", line
    assert f"the pool ran a program: {len(names)} of {len(names)} times" in said.out
    assert "18 runs in" in said.out
    assert "all ended as expected" in said.out
    held = {line.split("  ")[0]: line.split()[-3:-1] for line in lines[-4:]}
    assert held["after 18 runs"] == held["before"]
    assert held["sandbox closed"] == held["no sandbox"]
    assert "hostile: fork bomb" in said.err


@pytest.mark.slow
def test_long_makes_more_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sandboxing, "PROGRAMS", PROGRAMS[:1])
    monkeypatch.setattr(sandboxing, "programs", lambda: {"harmless": "1 + 1"})
    app(["benchmark", "sandbox", "--long"], standalone_mode=False)
    assert "27 runs in" in capsys.readouterr().out


def test_a_program_that_gets_what_it_wants_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 0.0, 1.0 + hostile.LONGEST, 0.0, 1.0])  # each program's start and end
    monkeypatch.setattr(hostile, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    with Sandbox(SandboxConfig(seconds=1.0)) as sandbox, Progress() as progress:
        wanted = {"reaches it": f"print({hostile.REACHED!r})", "takes too long": "1", "is held": "1 / 0"}
        endings = hostile.run_hostile(sandbox, wanted, progress)
    assert [ending.contained for ending in endings] == [False, False, True]
    assert all(ending.healthy for ending in endings)
    assert endings[2].detail == "error: ZeroDivisionError: division by zero"


def test_a_sandbox_that_fails_holds_nothing_and_is_not_healthy() -> None:
    class Broken:
        def run(self, code: str) -> None:
            raise SandboxError("the server died")

    with Progress() as progress:
        (ending,) = hostile.run_hostile(Broken(), {"any": "1"}, progress)  # type: ignore[arg-type]
    assert (ending.contained, ending.healthy) == (False, False)
    assert ending.detail == "the sandbox failed: the server died"


def test_runs_that_end_otherwise_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxing, "MANY", (("1 / 0", "ok"),))
    with Progress() as progress:
        assert ": 2 error instead of ok\n" in sandboxing._leaks(4, progress)


def test_a_peer_that_fails_is_no_figure() -> None:
    with pytest.raises(SandboxError, match="ZeroDivisionError"):
        sandboxing._python("1 / 0")


def test_processes_below_this_one_are_found() -> None:
    before = Usage.now()
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    child = subprocess.Popen(
        [sys.executable, "-c", f"print(flush=True); {code}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    while Usage.now().processes < before.processes + 2:
        assert child.poll() is None
    assert Usage.now().mib > before.mib
    child.communicate(b"\n")
    assert Usage.now().processes == before.processes


def test_tables_are_aligned_and_texts_shortened() -> None:
    table = aligned(("name", "n"), [("a", "1,000"), ("longer", "7")])
    assert table == "name        n\n─────────────\na       1,000\nlonger      7"
    assert shortened("a\n b" * 3, 20) == "a ba ba b"
    assert shortened("x" * 30, 10) == "x" * 9 + "…"
    assert shortened("x" * 30 + "end", 10, end=True) == "…xxxxxxend"
