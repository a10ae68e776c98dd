"""What a component's ports mean on disk: the work folder, models that may be absent, the stage report."""

from __future__ import annotations

import math
import os
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
    """Writes the report as JSON into `stage_report`, its finite scalars into `metrics` for the KFP page."""
    report.write(Path(stage_report.path))
    for name, value in report.values.items():
        if math.isfinite(value):
            metrics.log_metric(name, value)
