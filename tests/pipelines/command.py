"""The command as a user calls it, in a folder of its own, and what a refusal of it looks like."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.paths import ROOT

MATHLOOP = [sys.executable, "-m", "pipelines.cli"]


def mathloop(*arguments: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*MATHLOOP, *arguments],
        cwd=folder,
        input=stdin,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=120,
    )


def refused(*arguments: str, folder: Path) -> str:
    """The one line of a refusal, which leaves nothing behind."""
    before = sorted(folder.rglob("*"))
    result = mathloop(*arguments, folder=folder)
    assert result.returncode == 2, result.stdout + result.stderr
    assert sorted(folder.rglob("*")) == before
    (line,) = result.stderr.splitlines()
    assert line.startswith("mathloop: error: ")
    return line.removeprefix("mathloop: error: ")
