"""A store's first model: publication, and its training's curves for the experiment trackers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mathloop.registry.stages import publish_base
from mathloop.reports.sending import send
from mathloop.reports.summary import read_summary
from mathloop.stages import StageReport
from mathloop.tracking.config import NO_TRACKING, TrackingConfig
from mathloop.tracking.sinks import is_on


def run(
    *,
    store_url: str,
    model: Path,
    round_id: str,
    out: Path,
    summaries: Sequence[Path] = (),
    configuration: str = "{}",
    tracking: TrackingConfig = NO_TRACKING,
) -> list[StageReport]:
    """Publishes the model as champion 0 (`publish_base`), and sends the earlier steps' numbers and curves.

    Args:
        out: becomes {"promoted": true, "number": 0, "reason": str}.
        summaries: the summaries of the earlier steps.
        configuration: settings of the run as JSON.
        tracking: trackers that take numbers and curves; one that fails is a note.

    Raises:
        BadModel: the store already has another first champion; nothing was changed.
        BadData: a summary is damaged, and a tracker wants it.
    """
    on = is_on(tracking)
    stages = [report for path in summaries for report in read_summary(path)] if on else []
    published = publish_base(store_url=store_url, model=model, round_id=round_id, out=out)
    return [published, send(tracking, round_id, configuration, [*stages, published])] if on else [published]
