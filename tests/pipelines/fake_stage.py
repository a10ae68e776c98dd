"""What a fake stage does besides its arithmetic: leaves traces, and misbehaves when told to."""

import os
import subprocess
import sys
import time
from pathlib import Path

from mathloop.errors import BadData
from mathloop.stages import Progress


def act(stage: str) -> None:
    """Appends a line to FAKE_STARTS, then fails or hangs if the environment names this stage."""
    with open(os.environ["FAKE_STARTS"], "a", encoding="utf-8") as file:
        file.write(f"{stage} {os.getpid()}\n")
    progress = Progress(stage, 4, "steps")
    progress.update(2, tokens=100, loss=0.5)
    work = Path(os.environ["MATHLOOP_WORK"])
    (work / "attempts").open("a").write("x")
    (work / "part" / "checkpoints").mkdir(parents=True, exist_ok=True)
    (work / "part" / "checkpoints" / "step-1").write_text("x")
    if os.environ.get("FAKE_LEAVES_CHILD") == stage:
        child = subprocess.Popen(["sleep", "600"])
        (work / "child").write_text(str(child.pid))
    if os.environ.get("FAKE_FAIL") == stage:
        print("a line before the end")
        raise ValueError("the fake broke")
    if os.environ.get("FAKE_USER_ERROR") == stage:
        raise BadData("expected a number", path="numbers.jsonl", row=3, field="answer")
    if os.environ.get("FAKE_FULL_DISK") == stage:
        os.dup2(os.open("/dev/full", os.O_WRONLY), 2)  # the log is on the same disk
        print("x", file=sys.stderr, flush=True)
    if os.environ.get("FAKE_HANG") == stage:
        time.sleep(600)
    progress.update(2)
