"""A run for the experiment trackers, whatever they do: what happens to it is a stage's report."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Mapping, Sequence

from mathloop.settings.flat import flatten
from mathloop.stages import StageReport
from mathloop.tracking.config import TrackingConfig
from mathloop.tracking.sinks import track
from mathloop.tracking.tracked import Tracked, stage_numbers


def send(
    config: TrackingConfig,
    run_id: str,
    configuration: str,
    stages: Sequence[StageReport],
    scores: Callable[[], Mapping[str, float]] = dict,
) -> StageReport:
    """Sends settings, the stages' numbers and curves, and scores; raises nothing.

    Args:
        configuration: the run's settings as JSON.
        scores: computes further numbers, by name.
    """
    try:
        numbers, curves = stage_numbers(stages)
        shown = {key: str(value) for key, value in flatten(json.loads(configuration)).items()}
        return track(config, Tracked(run_id, shown, {**numbers, **scores()}, curves))
    except Exception as error:  # what it is about has happened already
        traceback.print_exc()
        reason = " ".join(str(error).split()) or type(error).__name__
        return StageReport("tracking", notes=[f"The run could not be tracked: {reason}"])
