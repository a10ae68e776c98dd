"""Outcomes of commands that were called against fakes of KFP and Kubernetes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable

from tests.fake_cluster import TOKEN

Run = Callable[..., subprocess.CompletedProcess[str]]


def done(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    return result.stdout


def refused(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 2, result.stdout + result.stderr
    (line,) = result.stderr.splitlines()
    assert TOKEN not in line
    return line.removeprefix("mathloop: error: ")
