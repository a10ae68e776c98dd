"""A long curve in few points."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mathloop.curves import thin

finite = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(finite, finite), max_size=900), st.integers(1, 200))
def test_a_thinned_curve_has_even_groups_their_last_steps_and_means(
    curve: list[tuple[float, float]], points: int
) -> None:
    thinned = thin(curve, points)
    ordered = sorted(curve)
    assert len(thinned) == min(len(curve), points)
    if len(curve) <= points:
        assert thinned == ordered
    else:
        assert thinned[-1][0] == ordered[-1][0]
    start = 0
    for number, (step, mean) in enumerate(thinned, start=1):
        end = round(number * len(curve) / len(thinned))
        assert abs((end - start) - len(curve) / len(thinned)) <= 1
        values = [value for _, value in ordered[start:end]]
        assert step == ordered[end - 1][0]
        assert mean == pytest.approx(sum(values) / len(values), abs=1e-6)
        start = end
    assert start == len(curve)
