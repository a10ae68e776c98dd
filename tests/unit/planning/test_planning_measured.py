"""A plan beside a finished round, with the counts of a laptop round that ran (seed 0)."""

from __future__ import annotations

import pytest

from mathloop.planning import Plan, make_plan
from mathloop.planning.measured import NEAR, PROCESS, Compared, Measured, compare, refit
from mathloop.settings import Settings
from pipelines.profile import load_profile

LAPTOP = {
    "pretrain": Measured(0, 0, 2_752_036),
    "cot": Measured(1133, 5116, 108_622),
    "tir": Measured(829, 2558, 79_398),
    "sft": Measured(1962, 0, 109_934),
    "reward_data": Measured(7200, 7200, 195_144),
    "selection": Measured(350, 9600, 219_755),
}


@pytest.fixture(scope="module")
def settings() -> Settings:
    return load_profile("laptop", [])


@pytest.fixture(scope="module")
def plan(settings: Settings) -> Plan:
    return make_plan(settings)


def find(rows: list[Compared], stage: str, quantity: str) -> Compared:
    return next(row for row in rows if (row.stage, row.quantity) == (stage, quantity))


def test_the_laptop_round_is_planned_within_a_quarter(plan: Plan) -> None:
    rows = compare(plan, LAPTOP, first=True)
    assert len(rows) == 6 + 4  # tokens of all, samples of those that sample
    assert not [row for row in rows if not row.near]
    off = find(rows, "selection", "tokens")
    assert off.error == pytest.approx(off.planned / 219_755 - 1)
    assert not Compared("cot", "tokens", 1.01 + NEAR, 1.0).near


def test_the_constants_of_the_nano_model_are_those_of_that_round(plan: Plan, settings: Settings) -> None:
    fitted = refit(plan.assumed, settings, LAPTOP)
    # (109,934 tokens of SFT, without 1,133 CoT and 829 TIR responses) / 1,962 responses
    prompt = (109_934 - 1133 * 108_622 / 5116 - 829 * 79_398 / 2558) / 1962
    assert fitted == pytest.approx(
        {"cot": 108_622 / 5116, "tir": 79_398 / 2558, "prompt": prompt, "right": 1133 / 5116}
    )
    assert {name: getattr(plan.assumed, name) for name in fitted} == pytest.approx(fitted, rel=0.03)


def test_what_was_not_run_is_not_compared_nor_fitted(plan: Plan, settings: Settings) -> None:
    assert refit(plan.assumed, settings, {"cot": LAPTOP["cot"]}).keys() == {"cot", "right"}
    fewer = settings.model_copy(update={"cot": settings.cot.model_copy(update={"keep": 1})})
    assert "right" not in refit(plan.assumed, fewer, LAPTOP)  # right ones were left out
    assert compare(plan, {"sandbox": Measured(1, 1, 1)}, first=True) == []


def test_memory_is_the_plans_and_the_process_itself(plan: Plan) -> None:
    (sft,) = (one for one in plan.stages if one.work.stage == "sft")
    rows = compare(plan, {"sft": Measured(1, 0, 1.0, peak=2e9)}, first=True)
    assert find(rows, "sft", "memory") == Compared("sft", "memory", sft.need.peak + PROCESS, 2e9)


def test_a_first_round_evaluates_one_model_less(plan: Plan) -> None:
    there = {"evaluation": Measured(1, 100, 100.0)}
    first, later = (find(compare(plan, there, first=one), "evaluation", "samples") for one in (True, False))
    assert first.planned == 3 / 4 * later.planned
