"""What a component's ports mean on disk: a work folder, models that may be absent, what it leaves behind."""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from mathloop.stages import StageReport

WORK_VARIABLE = "MATHLOOP_WORK"
"""Names the folder in which a stage keeps what it needs to go on after a kill; set by the local runner."""


def work_folder() -> Path:
    """The stage's stable work folder, or a new temporary one where the runner gives none."""
    return Path(os.environ.get(WORK_VARIABLE) or tempfile.mkdtemp(prefix="mathloop-"))


def model_or_none(artifact: Any) -> Path | None:
    """The model's folder; None where it is empty or absent (object stores do not keep an empty folder)."""
    folder = Path(artifact.path)
    return folder if folder.is_dir() and any(folder.iterdir()) else None


def record(report: StageReport, metrics: Any, stage_report: Any) -> None:
    """Writes the report as JSON into `stage_report`, its finite scalars into `metrics` for the KFP page.

    On a cluster it also notes what the component has made, which has to be complete by now: a later run looks
    for it before it reuses it.
    """
    report.write(Path(stage_report.path))
    for name, value in report.values.items():
        if math.isfinite(value):
            metrics.log_metric(name, value)
    if "--executor_input" in sys.argv:  # as a pod starts it
        from mathloop.cluster import reuse

        given = json.loads(sys.argv[sys.argv.index("--executor_input") + 1])
        outputs = given["outputs"]["artifacts"].keys() - {"executor-logs"}  # which KFP writes itself
        reuse.remember(stage_report.uri, Path(stage_report.path), outputs)
