"""A plan beside a finished round, with the counts of a laptop round that ran (seed 0)."""

from __future__ import annotations

import pytest

from mathloop.planning import Plan, make_plan
from mathloop.planning.assumptions import ASSUMED, Assumptions
from mathloop.planning.measured import NEAR, PROCESS, Compared, Measured, compare, refit
from mathloop.settings import Settings
from pipelines.profile import load_profile

LAPTOP = {
    "pretrain": Measured(0, 0, 2_752_036),
    "cot": Measured(1133, 5116, 108_622),
    "tir": Measured(829, 2558, 79_398),
    "sft": Measured(1962, 0, 109_934),
    "reward_data": Measured(7200, 7200, 195_144),
    "reward_model": Measured(5382, 0, 857_957),
    "selection": Measured(350, 9600, 219_755),
    "grpo": Measured(0, 1536, 84_646),
}
SMOLLM = {
    "cot": Measured(57, 288, 11_602, 4.81e9),
    "tir": Measured(45, 288, 13_354, 5.63e9),
    "sft": Measured(102, 0, 22_497, 4.36e9),
    "reward_data": Measured(288, 288, 10_986, 2.75e9),
    "reward_model": Measured(184, 0, 17_723, 4.08e9),
    "selection": Measured(48, 288, 10_818, 2.92e9),
    "grpo": Measured(0, 192, 21_506, 6.12e9),
}
"""A round of the profile smollm, seed 0: no constant is fitted on it."""


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
    assert len(rows) == 8 + 5  # tokens of all, samples of those that sample
    assert not [row for row in rows if not row.near]
    off = find(rows, "selection", "tokens")
    assert off.error == pytest.approx(off.planned / 219_755 - 1)
    assert not Compared("cot", "tokens", 1.01 + NEAR, 1.0).near


def test_a_round_of_another_model_is_predicted_within_a_quarter() -> None:
    made = make_plan(load_profile("smollm", []))
    rows = compare(made, SMOLLM, first=True)
    assert len(rows) == 7 + 5 + 7  # and memory of all
    assert not [row for row in rows if not row.near]


def test_the_policy_after_sft_is_the_nano_models_by_its_odds() -> None:
    after = ASSUMED["nano"].after_sft()
    assert after.right == pytest.approx(0.584, abs=0.01)  # share of right responses in reward_data
    assert after.between(1, 5, 6) == pytest.approx(
        5382 / 7200, abs=0.01
    )  # problems that the reward model learns
    unchanged = Assumptions(right=0.4)
    assert unchanged.after_sft().right == pytest.approx(0.4)


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


def test_a_first_rounds_champion_has_no_reward_model(plan: Plan) -> None:
    first, later = (
        find(compare(plan, {"cot": Measured(1, 0, 1.0, peak=2e9)}, first=one), "cot", "memory").planned
        for one in (True, False)
    )
    assert later - first == 4 * plan.shape.reward_parameters


def test_a_first_round_evaluates_one_model_less(plan: Plan) -> None:
    there = {"evaluation": Measured(1, 100, 100.0)}
    first, later = (find(compare(plan, there, first=one), "evaluation", "samples") for one in (True, False))
    assert first.planned == 3 / 4 * later.planned
