"""The process that runs one stage: KFP's own executor around the component, and nothing of KFP beyond it.

`python -m pipelines.local.stage FOLDER FUNCTION PARENT`: FOLDER holds component.py and input.json.
"""

from __future__ import annotations

import ctypes
import importlib.util
import json
import os
import signal
import sys
from pathlib import Path

USER_ERROR = 2
"""Exit code of a stage that ended with a UserError; its one line is then in FOLDER/error.txt."""
PR_SET_PDEATHSIG = 1


def main() -> None:
    folder, function, parent = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    die_with(parent)
    run(folder, function)


def run(folder: Path, function: str) -> None:
    """Executes the component's function on KFP's executor input, and exits with what became of it."""
    from kfp.dsl.executor import Executor

    from mathloop.errors import UserError

    spec = importlib.util.spec_from_file_location("component", folder / "component.py")
    assert spec is not None
    assert spec.loader is not None
    component = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(component)
    executor_input = json.loads((folder / "input.json").read_text(encoding="utf-8"))
    try:
        Executor(executor_input, getattr(component, function)).execute()
    except UserError as error:
        (folder / "error.txt").write_text(" ".join(str(error).split()), encoding="utf-8")
        print(f"mathloop: error: {error}", file=sys.stderr, flush=True)
        sys.exit(USER_ERROR)


def die_with(parent: int) -> None:
    """Has the kernel kill this process when `parent` dies, so that no orphan writes on after a kill -9."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it died before the kernel was asked
        os._exit(1)


if __name__ == "__main__":
    main()
