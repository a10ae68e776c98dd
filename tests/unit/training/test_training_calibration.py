"""Calibration of margins: known answers, a slow version, and margins that mean what they say."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathloop.training.calibration import BINS, calibrate

margins_lists = st.lists(st.floats(-30, 30, allow_nan=False), min_size=1, max_size=60)


@given(margins_lists)
def test_error_and_curve_are_those_of_a_slow_version(margins: list[float]) -> None:
    found = calibrate(margins)
    certainty = [max(1 / (1 + math.exp(-m)), 1 / (1 + math.exp(m))) for m in margins]
    error, curve = 0.0, []
    for b in range(BINS):
        low, high = 0.5 + b / BINS / 2, 0.5 + (b + 1) / BINS / 2
        # The bins are half open; the last one takes certainty 1 too.
        inside = [i for i, c in enumerate(certainty) if low <= c < high or (b == BINS - 1 and c >= high)]
        if not inside:
            continue
        predicted = sum(certainty[i] for i in inside) / len(inside)
        seen = sum(margins[i] > 0 for i in inside) / len(inside)
        error += abs(seen - predicted) * len(inside) / len(margins)
        curve.append((predicted, seen))
    assert found.pairs == len(margins)
    assert found.accuracy == pytest.approx(sum(m > 0 for m in margins) / len(margins))
    assert found.error == pytest.approx(error, abs=1e-9)
    assert [x for pair in found.curve for x in pair] == pytest.approx([x for p in curve for x in p], abs=1e-9)


def test_known_answers() -> None:
    two_of_three = calibrate([math.log(2), math.log(2), -math.log(2)])
    assert (two_of_three.accuracy, two_of_three.error) == pytest.approx((2 / 3, 0.0))
    assert two_of_three.curve == [pytest.approx((2 / 3, 2 / 3))]
    sure_and_wrong = calibrate([-1e4])  # beyond what exp can hold
    assert (sure_and_wrong.accuracy, sure_and_wrong.error, sure_and_wrong.curve) == (0, 1, [(1.0, 0.0)])
    undecided = calibrate([0.0, 0.0])  # a tie is no right order
    assert (undecided.accuracy, undecided.error) == (0.0, 0.5)
    assert calibrate([]).curve == []


def test_honest_margins_are_calibrated_and_boastful_ones_are_not() -> None:
    chance = random.Random(0)
    honest = []
    for _ in range(20_000):
        size = abs(chance.gauss(0, 2))
        honest.append(size if chance.random() < 1 / (1 + math.exp(-size)) else -size)
    fair, boastful = calibrate(honest), calibrate([4 * m for m in honest])
    assert fair.accuracy == boastful.accuracy
    assert fair.error < 0.01 < 0.1 < boastful.error
    assert all(abs(predicted - seen) < 0.05 for predicted, seen in fair.curve)
