"""Answers of real controllers, recorded on a cluster; they lie beside the repository."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.paths import ROOT

FOLDER = ROOT.parent / "shared" / "data" / "cluster"


def recorded_answer(name: str) -> Any:
    """The answer of this file's name; skips the test where recordings are absent."""
    path = FOLDER / name
    if not path.is_file():
        pytest.skip(f"no {path}: recorded answers of a real cluster are not part of this repository")
    return json.loads(path.read_text())
