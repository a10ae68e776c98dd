"""The processes that run stages: one that has imported what most stages need, and a fork of it for each.

Importing torch and transformers takes four seconds, a fork takes milliseconds, and a round has ten stages
that need them. `python -m pipelines.local.stage PARENT` reads requests from stdin, one JSON line each:
{"folder", "function", "environment"}; the folder holds component.py and input.json, and takes log.txt. It
answers {"pid"} when the stage has begun and {"exit_code"} when it has ended; in between the stage itself
answers {"error"}, one line, where the mistake is the user's. KFP's own executor runs the component; nothing
else of KFP is imported.
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
"""Heavy modules that start no thread and open no device when they are imported."""
USER_ERROR = 2
"""Exit code of a stage that ended with a mistake of the user's."""
FULL = os.strerror(errno.ENOSPC)
PR_SET_PDEATHSIG = 1


def main() -> None:
    die_with(int(sys.argv[1]))
    for module in PRELOADED:
        while select.select([0], [], [], 0)[0]:  # light stages need not wait for the rest
            serve()
        importlib.import_module(module)
    while True:
        serve()


def serve() -> None:
    """Answers one request; returns when the stage has ended."""
    line = read_line(0)
    if not line:
        sys.exit()
    gc.freeze()  # a fork need not copy what it never collects
    # multiprocessing's fork ends without tearing down torch's modules, which takes a second.
    stage = multiprocessing.get_context("fork").Process(
        target=run_stage, args=(json.loads(line), os.getpid())
    )
    stage.start()
    pid = stage.pid
    assert pid is not None
    answer(1, pid=pid)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)  # what the stage has left running
    stage.join()
    assert stage.exitcode is not None
    answer(1, exit_code=stage.exitcode)


def read_line(file: int) -> bytes:
    """One line from a file descriptor, and not a byte more: Python's own buffer would be forked too."""
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(file, 1)):
        line += byte
    return line


def answer(file: int, **values: int | str) -> None:
    os.write(file, json.dumps(values).encode() + b"\n")


def run_stage(request: dict[str, Any], server: int) -> None:
    """What the fork does."""
    answers = os.dup(1)
    become_stage(request, server)
    try:
        execute(Path(request["folder"]), request["function"])
    except Exception as error:
        said = told(error, request["folder"])
        if said is None:
            raise
        # Not through a file: the disk may be full.
        answer(answers, error=said)
        with suppress(OSError):
            print(f"mathloop: error: {said}", file=sys.stderr, flush=True)
        sys.exit(USER_ERROR)


def told(error: Exception, folder: str) -> str | None:
    """The one line of an error that the user can mend; None of any other."""
    from mathloop.errors import UserError

    line = " ".join(str(error).split())
    if isinstance(error, UserError):
        return line
    # Libraries wrap what the disk says into errors of their own.
    return f"{folder}: {line}; free some space" if FULL in line else None


def become_stage(request: dict[str, Any], server: int) -> None:
    """Leaves the server behind: an own session (and so group), the stage's environment, its log as output."""
    os.setsid()
    die_with(server)
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


def die_with(parent: int) -> None:
    """Has the kernel kill this process when `parent` dies, so that no orphan writes on after a kill -9."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


if __name__ == "__main__":
    main()
