"""A stage's process imports no engine before it loads one: libraries take more memory than data."""

from __future__ import annotations

import os
import subprocess
import sys

from tests.paths import ROOT

STAGES = (
    "components.running",
    "mathloop.problems.build",
    "mathloop.decontamination.stage",
    "mathloop.synthesis.selection",
    "mathloop.synthesis.cot",
    "mathloop.synthesis.tir",
    "mathloop.synthesis.reward_data",
    "mathloop.evaluation.evaluate",
    "mathloop.evaluation.scoring",
    "mathloop.writing.stage",
    "mathloop.writing.from_nothing",
    "mathloop.sampling.sharing",
)
"""What the bodies of their components import; models and engines are loaded later, where they run."""
NOT_LOADED = (
    "torch",
    "transformers",
    "accelerate",
    "sympy",
    "scipy",
    "pandas",
    "kubernetes",
    "typer",
    "vllm",
)
_PROGRAM = """
import importlib, sys
for stage in sys.argv[1].split():
    importlib.import_module(stage)
    for name in sys.argv[2].split():
        if name in sys.modules:
            sys.exit(f"{stage} imports {name}")
"""


def test_stages_that_sample_import_no_library_of_an_engine() -> None:
    command = [sys.executable, "-c", _PROGRAM, " ".join(STAGES), " ".join(NOT_LOADED)]
    environment = {**os.environ, "_KFP_RUNTIME": "true"}  # as in a pod
    process = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
