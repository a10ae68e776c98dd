"""The processes that run stages: a server with the common imports, and a fork of it per stage.

Importing torch and transformers takes four seconds, a fork takes milliseconds, and a round has ten stages
that need them. `python -m pipelines.local.stage PARENT` reads requests from stdin, one JSON line each:
{"folder", "function", "environment"}. The folder contains component.py and input.json; log.txt goes there. It
answers {"pid"} when the stage has started and {"exit_code", "peak", "cpu"} when it has ended, with the bytes
that it had at its peak and its milliseconds of CPU time; in between, the stage itself answers {"error"}, one
line, if it fails with a UserError. KFP's own executor runs the component; no other part of KFP is imported.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib
import importlib.util
import json
import multiprocessing
import os
import resource
import select
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

PRELOADED = (
    "kfp.dsl.executor",
    "numpy",
    "pyarrow.parquet",
    "torch",
    "transformers",
    "transformers.modeling_utils",
    "transformers.models.auto.modeling_auto",
    "transformers.models.qwen2.modeling_qwen2",
)
"""Heavy modules whose import starts no thread and opens no device."""
USER_ERROR = 2
"""Exit code of a stage that failed with a UserError."""
FULL = os.strerror(errno.ENOSPC)
PR_SET_PDEATHSIG = 1
WATCH_SECONDS = 0.1


def main() -> None:
    die_with_parent(int(sys.argv[1]))
    for module in PRELOADED:
        while select.select([0], [], [], 0)[0]:  # light stages need not wait for the rest
            serve()
        importlib.import_module(module)
    while True:
        serve()


def serve() -> None:
    """Handles one request; returns when the stage has ended."""
    line = read_line(0)
    if not line:
        sys.exit()
    gc.freeze()  # so that forks do not copy these objects' pages
    # multiprocessing's fork exits without tearing down torch's modules, which would take a second.
    stage = multiprocessing.get_context("fork").Process(
        target=run_stage, args=(json.loads(line), os.getpid())
    )
    stage.start()
    pid = stage.pid
    assert pid is not None
    answer(1, pid=pid)
    peak = watch_memory(pid)
    before = cpu_milliseconds()
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # processes that the stage left running
    stage.join()
    assert stage.exitcode is not None
    answer(1, exit_code=stage.exitcode, peak=peak, cpu=cpu_milliseconds() - before)


def cpu_milliseconds() -> int:
    """CPU time of this process's children that have ended, and of theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(1000 * (used.ru_utime + used.ru_stime))


def watch_memory(pid: int) -> int:
    """Waits until a child has ended, and leaves it to be joined; the most bytes that it had resident.

    Asked ten times a second: its usage as a child would begin with the size of this process.
    """
    peak, ended = 0, os.pidfd_open(pid)
    while True:  # once before the first wait, since a stage may be quicker
        with suppress(OSError, ValueError, IndexError):
            status = Path(f"/proc/{pid}/status").read_text("utf-8")
            peak = max(peak, 1024 * int(status.partition("VmHWM:")[2].split()[0]))
        if select.select([ended], [], [], WATCH_SECONDS)[0]:
            break
    os.close(ended)
    return peak


def read_line(file: int) -> bytes:
    """One line from a file descriptor and not a byte more: a fork would copy Python's read buffer."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(file, 1)):
        line += byte
    return line


def answer(file: int, **values: int | str) -> None:
    os.write(file, json.dumps(values).encode() + b"\n")


def run_stage(request: dict[str, Any], server: int) -> None:
    """Runs the stage in the fork."""
    answers = os.dup(1)
    detach_from_server(request, server)
    try:
        execute(Path(request["folder"]), request["function"])
    except Exception as error:
        message = user_message(error, request["folder"])
        if message is None:
            raise
        # Not through a file: the disk may be full.
        answer(answers, error=message)
        with suppress(OSError):
            print(f"mathloop: error: {message}", file=sys.stderr, flush=True)
        sys.exit(USER_ERROR)


def user_message(error: Exception, folder: str) -> str | None:
    """The message of an error that the user can fix, in one line; None for other errors."""
    from mathloop.errors import UserError

    line = " ".join(str(error).split())
    if isinstance(error, UserError):
        return line
    # Libraries wrap the disk's errors in their own.
    return f"{folder}: {line}; free some space" if FULL in line else None


def detach_from_server(request: dict[str, Any], server: int) -> None:
    """Gives the fork its own session (and so process group), environment, and log as output."""
    os.setsid()
    die_with_parent(server)
    os.environ.update(request["environment"])
    log = os.open(Path(request["folder"], "log.txt"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)


def execute(folder: Path, function: str) -> None:
    """Executes the component's function on KFP's executor input."""
    from kfp.dsl.executor import Executor

    spec = importlib.util.spec_from_file_location("component", folder / "component.py")
    assert spec is not None
    assert spec.loader is not None
    component = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(component)
    executor_input = json.loads((folder / "input.json").read_text(encoding="utf-8"))
    Executor(executor_input, getattr(component, function)).execute()


def die_with_parent(parent: int) -> None:
    """Makes the kernel kill this process when `parent` dies, so that no orphan writes on after a kill -9."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the call above
        os._exit(1)


if __name__ == "__main__":
    main()
