"""Two sides compared: the paired bootstrap against slow references, and what changed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from mathloop.errors import BadData
from mathloop.evaluation.comparing import AVERAGE, BOTH_MODES, Comparison, Side, compare
from mathloop.evaluation.config import GateConfig
from mathloop.evaluation.gate import decide
from mathloop.evaluation.metrics import Outcomes
from mathloop.records import Problem, Response
from mathloop.reports.comparison import warnings

PROBLEMS = [
    Problem(f"{source}/{n}" if source else str(n), f"What is {n}?", "1", source, parent=f"{source}{n // 2}")
    for source, count in (("", 40), ("near", 30))
    for n in range(count)
]
SKILL = {"before": 0.4, "after": 0.6}


def rows(model: str, samples: int, modes: tuple[str, ...] = ("cot", "tir")) -> list[tuple[Problem, Response]]:
    chance = random.Random(f"{model}{samples}")
    return [
        (problem, Response(problem.id, sample, mode, f"by {model}", answer, answer == "1", model=model))  # type: ignore[arg-type]
        for problem in PROBLEMS
        for mode in modes
        for sample in range(-1, samples)
        for answer in ["1" if chance.random() < SKILL[model] else chance.choice("234")]
    ]


def side(model: str, samples: int = 2, **settings: object) -> Side:
    found = rows(model, samples)
    return Side(model, lambda: iter(found), settings)


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(side("before"), side("after"), seed=3)


def greedy_differences(mode: str, benchmark: str) -> dict[str, list[float]]:
    """Cluster → differences of its problems."""
    right = {
        model: {(p.id, r.mode): r.correct for p, r in rows(model, 2) if r.sample == -1} for model in SKILL
    }
    found: dict[str, list[float]] = {}
    for problem in PROBLEMS:
        if problem.source == benchmark:
            key = problem.id, mode
            difference = float(bool(right["after"][key])) - float(bool(right["before"][key]))
            found.setdefault(str(problem.parent), []).append(difference)
    return found


@pytest.mark.parametrize(("benchmark", "source"), [("held-out", ""), ("near", "near")])
@pytest.mark.parametrize("mode", ["cot", "tir"])
def test_differences_are_those_of_a_slow_bootstrap(
    comparison: Comparison, benchmark: str, source: str, mode: str
) -> None:
    (row,) = [r for r in comparison.rows if r[:3] == (benchmark, mode, "greedy")]
    clusters = list(greedy_differences(mode, source).values())
    flat = [value for cluster in clusters for value in cluster]
    assert row.difference.value == pytest.approx(sum(flat) / len(flat))
    assert row.b - row.a == pytest.approx(row.difference.value)
    assert row.difference.n == len(flat)
    chance = random.Random(1)
    means = []
    for _ in range(4_000):  # clusters drawn with replacement, one after the other
        drawn = [value for _ in clusters for value in chance.choice(clusters)]
        means.append(sum(drawn) / len(drawn))
    low, high = np.quantile(means, [0.025, 0.975])
    assert row.difference.low == pytest.approx(low, abs=0.035)  # a step of the mean
    assert row.difference.high == pytest.approx(high, abs=0.035)  # a step of the mean


def test_the_mean_of_modes_and_benchmarks_is_what_the_gate_decides_on(comparison: Comparison) -> None:
    outcomes = Outcomes(PROBLEMS)
    for label, model in (("champion", "before"), ("challenger", "after")):
        for _, response in rows(model, 2):
            outcomes.add(replace(response, model=label))
    decision = decide(outcomes, GateConfig(), seed=3)
    (row,) = [r for r in comparison.rows if r[:3] == (AVERAGE, BOTH_MODES, "greedy")]
    for name, value in (("difference", row.difference.value), ("low", row.difference.low)):
        assert decision[name] == pytest.approx(value)
    assert row.difference.mark() == decision["mark"]
    for name, one in decision["benchmarks"].items():
        (own,) = [r for r in comparison.rows if r[:3] == (name, BOTH_MODES, "greedy")]
        assert (own.a, own.b) == pytest.approx((one["champion"], one["challenger"]))
        assert (own.difference.low, own.difference.high) == pytest.approx((one["low"], one["high"]))


def test_fixed_and_broken_problems_are_those_whose_greedy_verdict_differs(comparison: Comparison) -> None:
    right = {model: {(p.id, r.mode): r for p, r in rows(model, 2) if r.sample == -1} for model in SKILL}
    expected = {
        (*key, not one.correct)
        for key, one in right["before"].items()
        if one.correct != right["after"][key].correct
    }
    assert {(one.problem.id, one.mode, one.fixed) for one in comparison.changed} == expected
    for one in comparison.changed:
        assert one.before == right["before"][one.problem.id, one.mode]
        assert one.after == right["after"][one.problem.id, one.mode]
    assert [one.fixed for one in comparison.changed] == sorted(
        (one.fixed for one in comparison.changed), reverse=True
    )


def test_unequal_numbers_of_samples_are_compared_at_the_smaller() -> None:
    found = compare(side("before", 4), side("before", 2))
    assert found.k == 2
    assert {row.metric for row in found.rows} >= {"greedy", "maj@2", "pass@2"}
    assert all(0.0 <= row.a <= 1.0 for row in found.rows)


def test_what_one_side_was_not_asked_is_left_out_and_counted() -> None:
    held_out = [(p, r) for p, r in rows("after", 2, ("cot",)) if not p.source]
    found = compare(side("before"), Side("after", lambda: iter(held_out)))
    assert {(row.benchmark, row.mode) for row in found.rows} == {("held-out", "cot")}
    assert found.only == (30, 0)
    (row,) = [one for one in found.rows if one.metric == "greedy"]
    assert row.difference.n == 40


def test_nothing_in_common_and_other_problems_of_one_id_are_refused() -> None:
    other = Side("other", lambda: iter([(Problem("x", "?", "1"), Response("x", -1, "cot", "", "1", True))]))
    with pytest.raises(BadData, match="before and other have no problem in common"):
        compare(side("before"), other)

    def changed() -> Iterator[tuple[Problem, Response]]:
        return ((replace(p, problem="What?"), r) for p, r in rows("after", 2))

    with pytest.raises(BadData, match="do not have the same problem '0'"):
        compare(side("before"), Side("after", changed))


def of(found: list[tuple[Problem, Response]], name: str = "after") -> Side:
    return Side(name, lambda: iter(found), own_counts=True)


def test_problems_whose_samples_were_not_drawn_are_left_out_of_their_scores_alone() -> None:
    whole = rows("after", 2)
    killed = [
        (p, r) for p, r in whole if r.mode == "cot" and (r.sample < 0 or (not p.source and int(p.id) < 10))
    ]
    found = compare(of(whole, "before"), of(killed))
    assert {(row.benchmark, row.metric): row.difference.n for row in found.rows} == {
        ("held-out", "greedy"): 40,
        ("near", "greedy"): 30,
        (AVERAGE, "greedy"): 70,
        **{("held-out", f"{kind}@2"): 10 for kind in ("mean", "maj", "pass")},
    }
    assert all(row.difference.value == 0.0 and row.a == row.b for row in found.rows)
    assert found.changed == []
    # Samples before the greedy pass: no greedy answer of B is taken for a broken one.
    samples = [(p, r) for p, r in whole if r.sample >= 0 or p.source]
    assert compare(of(whole, "before"), of(samples)).changed == []


def test_samples_of_one_mode_are_compared_where_the_other_has_none() -> None:
    def some(count: int) -> list[tuple[Problem, Response]]:
        return [(p, r) for p, r in rows("after", 4) if r.sample < (count if r.mode == "cot" else 0)]

    found = compare(of(some(4), "before"), of(some(2)))
    assert {(row.mode, row.metric) for row in found.rows} == {
        *(("cot", metric) for metric in ("greedy", "mean@2", "maj@2", "pass@2")),
        *((mode, "greedy") for mode in ("tir", BOTH_MODES)),
    }
    assert found.k == 2


def test_a_benchmark_without_tools_counts_in_the_mean_of_modes_as_in_the_gate() -> None:
    sides = {model: [(p, r) for p, r in rows(model, 0) if r.mode == "cot" or not p.source] for model in SKILL}
    comparison = compare(of(sides["before"]), of(sides["after"]), seed=3)
    outcomes = Outcomes(PROBLEMS)
    for label, model in (("champion", "before"), ("challenger", "after")):
        for _, response in sides[model]:
            outcomes.add(replace(response, model=label))
    decision = decide(outcomes, GateConfig(), seed=3)
    (row,) = [r for r in comparison.rows if r[:3] == (AVERAGE, BOTH_MODES, "greedy")]
    assert row.difference.n == 70
    assert (row.difference.value, row.difference.low) == pytest.approx(
        (decision["difference"], decision["low"])
    )
    assert (row.a, row.b) == pytest.approx((decision["champion"]["score"], decision["challenger"]["score"]))


def test_few_problems_are_told_by_benchmark_and_an_unfinished_side_first(comparison: Comparison) -> None:
    shown = warnings(replace(comparison, b=replace(comparison.b, complete=False)))
    assert shown[0].startswith("B is not complete: each score is over the problems that both sides drew")
    small = [line for line in shown if "small" in line]
    assert [line.split()[0] for line in small] == ["held-out", "near"]
    assert all(line.endswith("points in greedy accuracy of one mode.") for line in small)
