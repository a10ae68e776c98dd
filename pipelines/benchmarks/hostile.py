"""Hostile programs that a sandbox must contain, and the outcome of each.

A program that achieves its aim prints `REACHED`. Run them only in a sandbox.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mathloop.errors import SandboxError
from mathloop.sandbox import Sandbox
from pipelines.benchmarks.printing import Progress

REACHED = "reached"
LONGEST = 10.0
"""Seconds that a program may exceed its time limit before it counts as not contained."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one program."""

    name: str
    detail: str
    """The status, and the error's last line or the output."""
    seconds: float
    contained: bool
    healthy: bool
    """Whether the pool ran a harmless program right afterwards."""


def run_hostile(sandbox: Sandbox, programs: Mapping[str, str], progress: Progress) -> list[Outcome]:
    """Runs the programs one by one; removes the file that a program may have written outside."""
    outcomes = []
    for name, code in programs.items():
        progress.step(f"hostile: {name}")
        outcomes.append(_run(sandbox, name, code))
        _outside().unlink(missing_ok=True)
    return outcomes


def _run(sandbox: Sandbox, name: str, code: str) -> Outcome:
    started = time.monotonic()
    try:
        execution = sandbox.run(code)
    except SandboxError as error:
        detail, reached = f"the sandbox failed: {error}", True
    else:
        detail = f"{execution.status}: {execution.error or execution.stdout}"
        reached = REACHED in execution.stdout or _outside().exists()
    seconds = time.monotonic() - started
    contained = not reached and seconds < sandbox.config.seconds + LONGEST
    return Outcome(name, detail, seconds, contained, _healthy(sandbox))


def _healthy(sandbox: Sandbox) -> bool:
    try:
        return sandbox.run("6 * 7").stdout == "42\n"
    except SandboxError:
        return False


def _outside() -> Path:
    return Path(tempfile.gettempdir()) / f"mathloop-benchmark-{os.getpid()}"


def programs() -> dict[str, str]:
    """Name → program."""
    return {name: code.strip().replace("REACHED", repr(REACHED)) for name, code in _written().items()}


def _written() -> dict[str, str]:
    return {
        "fork bomb": """
import os
while True:
    os.fork()
    print(REACHED, flush=True)
""",
        "thread bomb": """
import threading, time
while True:
    threading.Thread(target=time.sleep, args=(60,)).start()
""",
        "10 GB at once": "x = bytearray(10 << 30)\nprint(REACHED)",
        "10 GB gradually": "x = []\nwhile len(x) < 10_000:\n    x.append(bytes(1 << 20))\nprint(REACHED)",
        "endless loop that catches all": """
while True:
    try:
        while True: pass
    except BaseException: pass
""",
        "one endless operation": "9 ** 9 ** 9",
        "sleep with signals ignored": """
import signal, time
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
time.sleep(1000)
""",
        "os.kill(-1)": "import os\nos.kill(-1, 9)\nprint(REACHED)",
        "killing its server": "import os\nos.kill(os.getppid(), 9)\nprint(REACHED)",
        "a socket": "import socket\nsocket.socket()\nprint(REACHED)",
        "reading /etc/passwd": "print(REACHED if open('/etc/passwd').read() else '')",
        "other environments": """
import os
if 'PATH' in os.environ: print(REACHED)
for pid in ('self', 1, os.getppid()):
    try:
        if 'PATH=' in open(f'/proc/{pid}/environ').read(): print(REACHED)
    except OSError as error:
        last = error
raise last
""",
        "writing outside": f"open({str(_outside())!r}, 'w').write('x')\nprint(REACHED)",
        "filling the disk": """
import os
for folder in ('/tmp', '/dev/shm', os.getcwd()):
    try:
        with open(f'{folder}/mathloop-benchmark', 'wb') as file:
            for _ in range(1024): file.write(bytes(1 << 20))
        os.unlink(file.name)
        print(REACHED)
    except OSError as error:
        last = error
raise last
""",
        "another program": """
import subprocess, sys
subprocess.run([sys.executable, '-c', 'pass'], check=True)
print(REACHED)
""",
        "ctypes: system()": """
import ctypes
ended = ctypes.CDLL(None).system(b'true')
print(REACHED if ended == 0 else f'system() gave {ended}')
""",
        "ctypes: address 0": "import ctypes\nctypes.string_at(0)\nprint(REACHED)",
        "deep recursion": """
import sys
sys.setrecursionlimit(10**9)
def down(x): return [down, *map(down, [x])]
down(1)
print(REACHED)
""",
        "lifting its limits": """
import resource
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
print(REACHED)
""",
        "flood of output": "while True: print('x' * 1000)",
        "closing its pipes": "import os\nos.closerange(0, 1024)\nwhile True: pass",
    }
