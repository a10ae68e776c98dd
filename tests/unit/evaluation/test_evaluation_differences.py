"""The one place that says whether a difference holds."""

import numpy as np
import pytest

from mathloop.evaluation.config import GateConfig
from mathloop.evaluation.differences import Difference, paired_difference
from mathloop.evaluation.gate import decide
from mathloop.evaluation.metrics import Outcomes
from mathloop.records import Problem, Response


@pytest.mark.parametrize(
    ("low", "high", "margin", "mark"),
    [
        (0.01, 0.2, 0.0, "holds"),
        (0.0, 0.2, 0.0, "within noise"),
        (0.0, 0.0, 0.0, "within noise"),
        (-0.2, 0.0, 0.0, "within noise"),
        (-0.2, -0.01, 0.0, "fails"),
        (0.01, 0.2, 0.05, "within noise"),
        (0.01, 0.04, 0.05, "fails"),
    ],
)
def test_the_interval_gives_the_mark(low: float, high: float, margin: float, mark: str) -> None:
    assert Difference((low + high) / 2, low, high, 10).mark(margin) == mark


def test_pairing_sees_what_two_intervals_cannot() -> None:
    """One model solves what the other does and eight problems more; the problems differ far more."""
    lesser = np.array([1.0] * 96 + [0.0] * 104)
    greater = np.array([1.0] * 104 + [0.0] * 96)
    found = paired_difference(greater, lesser, seed=0)
    assert (found.value, found.n, found.mark()) == (0.04, 200, "holds")
    shuffled = np.random.default_rng(0).permutation(lesser)
    assert paired_difference(greater, shuffled, seed=0).mark() == "within noise"
    assert paired_difference(lesser, greater, seed=0).mark() == "fails"


def test_modes_are_averaged_per_problem_and_clusters_drawn_together() -> None:
    ours, theirs = np.array([[1.0, 0.0], [1.0, 1.0]] * 20), np.array([[0.0, 0.0], [1.0, 1.0]] * 20)
    found = paired_difference(ours, theirs, seed=1)
    assert (found.value, found.n) == (0.25, 40)
    together = paired_difference(ours, theirs, seed=1, clusters=["a", "b"] * 20)
    assert (together.low, together.high) == (0.0, 0.5)


def test_the_gate_says_the_mark_it_decides_by() -> None:
    rows = [
        Response(str(n), -1, "cot", "", "1", n < solved, model=model)
        for model, solved in (("champion", 20), ("challenger", 30))
        for n in range(50)
    ]
    outcomes = Outcomes([Problem(str(n), "?", "1") for n in range(50)], rows)
    better = decide(outcomes, GateConfig(), seed=0)
    assert (better["promote"], better["mark"]) == (True, "holds")
    barred = decide(outcomes, GateConfig(margin=0.15), seed=0)
    assert (barred["promote"], barred["mark"]) == (False, "within noise")
