"""What the stages of a finished run here did, from their summaries and done.json."""

from __future__ import annotations

from contextlib import suppress

from mathloop.errors import BadData
from mathloop.planning.measured import Measured
from mathloop.reports.summary import read_summary
from pipelines.local.folder import RunFolder, read_done


def measured_stages(run: RunFolder) -> dict[str, Measured]:
    """Stage → what it did, of those that have finished and count tokens."""
    found: dict[str, Measured] = {}
    for folder in sorted(run.stages.iterdir()):
        done = read_done(folder)
        if done is None:
            continue
        with suppress(BadData):
            own = read_summary(folder / "summary")[-1]
            if tokens := own.values.get("tokens"):
                peak = done.get("peak_bytes")
                size = float(peak) if isinstance(peak, int) else 0.0
                found[own.stage] = Measured(float(own.kept), float(own.generated), tokens, size)
    return found
