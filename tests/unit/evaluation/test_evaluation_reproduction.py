"""The paper's claims over made seeds."""

from __future__ import annotations

import numpy as np
import pytest

from mathloop.errors import BadData
from mathloop.evaluation.differences import crossed_difference, paired_difference
from mathloop.evaluation.reproduction import CLAIMS, Asked, SeedScores, check_claims, mean_scores
from mathloop.reports import reproduction as showing

N = 40


def made(seed: int, shift: int = 0, **models: int) -> SeedScores:
    """Each model solves its first `models` problems, in both modes; half of them are large."""
    problems = [
        Asked(id=f"p{n}", benchmark=name, cluster=f"p{n}", large=n % 2 == 0)
        for name in ("held-out", "unseen")
        for n in range(N)
    ]

    def scores(right: int) -> dict[str, dict[str, list[float]]]:
        row = [float(n < right + shift) for n in range(N)] * 2
        return {"cot": {"greedy": row}, "tir": {"greedy": row}}

    return SeedScores(
        seed=seed,
        profile="made",
        samples=8,
        problems=tuple(problems),
        models={name.replace("_", " "): scores(right) for name, right in models.items()},
        tokens={"v1": 1000},
        seconds={"v1": 65.0},
        notes=("round 2 promoted nothing.",) if seed == 1 else (),
    )


MODELS = {"base_v1": 8, "SFT": 20, "GRPO": 10, "champion_1": 10, "champion_2": 10, "base_v2": 24}


def test_each_claim_has_its_mark_over_seeds_and_problems() -> None:
    seeds = [made(seed, shift, **MODELS) for seed, shift in ((0, 0), (1, 2), (2, 1))]
    found = {(one.benchmark, one.claim): one for one in check_claims(seeds)}
    marks = {claim: found["held-out", claim].difference.mark() for _, claim in found}
    assert marks == {
        "SFT improves on the base model": "holds",
        "GRPO improves on SFT": "fails",
        "champion 2 is above champion 1": "within noise",
        "Pretraining on the written corpus improves the base model": "holds",
    }
    sft = found["unseen", "SFT improves on the base model"]
    assert (sft.seeds, sft.difference.n) == (3, N)
    assert sft.difference.value == pytest.approx(12 / N)
    assert sft.lesser_value == pytest.approx(9 / N)
    assert [claim for _, claim in found][: len(marks)] == [one.text for one in CLAIMS if one.text in marks]


def test_large_numbers_modes_and_votes_are_measured_where_they_were_drawn() -> None:
    one = made(0, champion_3=10)
    champion = {mode: dict(metrics) for mode, metrics in one.models["champion 3"].items()}
    champion["tir"]["greedy"] = [float(n % 2 == 0) for n in range(N)] * 2
    for mode in champion:
        champion[mode]["maj@8"] = [1.0] * (2 * N)
    found = check_claims([one.model_copy(update={"models": {"champion 3": champion}})])
    tools = next(each for each in found if each.claim.startswith("TIR"))
    assert (tools.difference.n, tools.lesser_value, tools.greater_value) == (N // 2, 0.25, 1.0)
    assert tools.greater == "champion 3 TIR"
    names = {each.claim for each in found}
    assert "Majority vote beats greedy decoding" in names
    assert "rm beats majority vote" not in names
    assert mean_scores([one])["held-out", "champion 3"] == {"greedy": 0.25}


def test_an_interval_over_seeds_is_wider_than_one_over_problems_and_the_same_for_one_seed() -> None:
    rng = np.random.default_rng(0)
    lesser = (rng.random((3, 60)) < 0.4).astype(float)
    greater = (rng.random((3, 60)) < np.array([[0.45], [0.6], [0.75]])).astype(float)
    clusters = [n // 2 for n in range(60)]
    crossed = crossed_difference(greater, lesser, seed=1, clusters=clusters)
    fixed = paired_difference(greater.mean(axis=0), lesser.mean(axis=0), seed=1, clusters=clusters)
    assert crossed.value == pytest.approx(fixed.value)
    assert crossed.high - crossed.low > 1.2 * (fixed.high - fixed.low)
    own = [
        one(greater[:1], lesser[:1], seed=1, clusters=clusters)
        if one is crossed_difference
        else one(greater[0], lesser[0], seed=1, clusters=clusters)
        for one in (crossed_difference, paired_difference)
    ]
    assert own[0] == own[1]
    with pytest.raises(ValueError, match="at least one seed"):
        crossed_difference(greater[:0], lesser[:0], seed=1)


def test_seeds_with_other_problems_are_refused() -> None:
    other = made(1, **MODELS)
    other = other.model_copy(update={"problems": other.problems[1:]})
    with pytest.raises(BadData, match="seed 1 was measured on other problems than seed 0"):
        check_claims([made(0, **MODELS), other])


def test_the_report_is_a_text_a_page_and_json() -> None:
    seeds = [made(seed, shift, **MODELS) for seed, shift in ((0, 0), (1, 2), (2, 1))]
    text, page, found = showing.text(seeds), showing.html(seeds), showing.to_json(seeds)
    for words in ("holds ", "fails ", "within noise  held-out: champion 2 is above champion 1: +0.0"):
        assert words in text
    assert "4 hold, 2 are within noise, 2 fail" in text
    assert "Seed 1: round 2 promoted nothing." in text
    for words in (">holds</span>", ">fails</span>", ">within noise</span>", "1 min 5 s", "Seed 1: round 2"):
        assert words in page
    assert len(found["claims"]) == 8
    assert {one["mark"] for one in found["claims"]} == {"holds", "fails", "within noise"}
    assert found["seeds"] == [0, 1, 2]
    assert "One seed" in showing.text(seeds[:1])
