"""Calibration of a reward model: σ(margin) against the share of pairs that are in the right order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

BINS = 10


@dataclass(frozen=True)
class Calibration:
    """Measured on pairs of a correct and a wrong response."""

    pairs: int
    accuracy: float
    """Share of the pairs whose correct response scores higher."""
    error: float
    """Expected calibration error: mean |share in order − predicted| over bins, weighted by their pairs."""
    curve: list[tuple[float, float]]
    """(mean prediction, share in order) of every bin from 0.5 up that has pairs."""


def calibrate(margins: Sequence[float]) -> Calibration:
    """`margins`: score of the correct response minus score of the wrong one, one number per pair.

    The model predicts with probability σ(|margin|) that the higher-scored response is the correct one.
    """
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(BINS)]
    for margin in margins:
        certainty = 1 / (1 + math.exp(-min(abs(margin), 700.0)))
        bins[min(BINS - 1, int((certainty - 0.5) * 2 * BINS))].append((certainty, margin > 0))
    curve, error = [], 0.0
    for some in filter(None, bins):
        predicted = sum(certainty for certainty, _ in some) / len(some)
        seen = sum(right for _, right in some) / len(some)
        curve.append((predicted, seen))
        error += abs(seen - predicted) * len(some) / len(margins)
    right = sum(margin > 0 for margin in margins)
    return Calibration(len(margins), right / max(1, len(margins)), error, curve)
