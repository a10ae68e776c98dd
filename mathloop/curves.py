"""Curves as stage reports hold them and pages draw them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Point = tuple[float, float]
"""(step, value)."""
AXES = {
    "calibration: share right over predicted": ("predicted probability", "share right"),
    "problems by right samples": ("right samples", "problems"),
}
"""Curve → what its x and y axes count, where that is not a step and the curve's own name."""


def thin(curve: Sequence[Point], points: int = 200) -> list[Point]:
    """The curve by step, in at most `points` points.

    Consecutive points are grouped as evenly as possible; each group gives its last step and its mean value.
    """
    curve = sorted((float(step), float(value)) for step, value in curve)
    if len(curve) <= points:
        return curve
    edges = [round(index * len(curve) / points) for index in range(points + 1)]
    groups = [curve[start:end] for start, end in pairwise(edges)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
