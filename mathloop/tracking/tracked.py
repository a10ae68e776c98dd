"""What a tracker is told of a round."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from mathloop.curves import AXES, Point
from mathloop.stages import StageReport


@dataclass(frozen=True)
class Tracked:
    """A round; all of it can be written as JSON."""

    run: str
    """The round's id."""
    settings: Mapping[str, str]
    """Flat key → value."""
    scores: Mapping[str, float]
    """Name with slashes → number at the round's end; finite."""
    curves: Mapping[str, Sequence[Point]] = field(default_factory=dict)
    """`stage/name` → (step, value) with whole steps and finite values."""


def stage_numbers(stages: Sequence[StageReport]) -> tuple[dict[str, float], dict[str, list[Point]]]:
    """(numbers, curves) of the stages' reports, named `stage/name`.

    Curves over something other than steps, such as calibration, are left out: trackers have no such axis. A
    number with the name of a curve is `stage/name at the end`: trackers would take it for one more point.
    """
    numbers: dict[str, float] = {}
    curves: dict[str, list[Point]] = {}
    for stage in stages:
        counts = {"inputs": stage.inputs, "generated": stage.generated, "kept": stage.kept}
        own: dict[str, float] = {"seconds": stage.seconds, **counts}
        own["dropped"] = sum(stage.dropped.values())
        for name, value in {**own, **stage.values, **stage.scores}.items():
            if math.isfinite(value):
                shown = f"{name} at the end" if name in stage.curves else name
                numbers[f"{stage.stage}/{_part(shown)}"] = float(value)
        for name, curve in stage.curves.items():
            points = [(float(step), float(value)) for step, value in curve]
            if points and name not in AXES and all(step.is_integer() for step, _ in points):
                finite = [(step, value) for step, value in points if math.isfinite(value)]
                curves[f"{stage.stage}/{_part(name)}"] = finite
    return numbers, curves


def _part(name: str) -> str:
    return name.replace("/", " per ")
