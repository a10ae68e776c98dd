"""Reward data of two policies, balanced per problem."""

from __future__ import annotations

from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from mathloop.errors import BadModel
from mathloop.records import Problem, Response, read_responses, write_problems
from mathloop.stages import StageReport
from mathloop.synthesis import reward_data
from mathloop.synthesis.config import RewardDataConfig
from tests.model_faults import write_models
from tests.unit.synthesis.scripted import ScriptedSampler


def test_the_champion_adds_responses_and_each_problem_is_balanced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SFT model solves "easy" and "mixed" always, the champion only "easy"; nobody solves "hard"."""

    def load(policy: Path, _: Any) -> ScriptedSampler:
        solved = {"easy", "mixed"} if policy.name == "sft" else {"easy"}
        return ScriptedSampler(
            lambda p, n: Response(p.id, n, "cot", f"{policy.name} {n}", "7" if p.id in solved else "8"), 1000
        )

    monkeypatch.setattr(reward_data, "load_sampler", load)
    names = ("easy", "mixed", "hard")
    write_problems(tmp_path / "given.parquet", [Problem(name, f"{name}?", "7") for name in names])
    report = reward_data.run(
        problems=tmp_path / "given.parquet",
        policy=tmp_path / "sft",
        champion=tmp_path / "champion",
        out=tmp_path / "out.parquet",
        config=RewardDataConfig(samples=6, champion_samples=2, balanced=True),
        seed=0,
    )
    kept = list(read_responses(tmp_path / "out.parquet"))
    assert [(r.problem_id, r.model, r.correct) for r in kept] == [
        *3 * [("mixed", "sft", True)],
        *2 * [("mixed", "champion", False)],
    ]
    assert len({r.sample for r in kept}) == 5
    assert report.generated == 24
    assert report.dropped == {
        "all responses are right": 1,
        "all responses are wrong": 1,
        "beyond the balance of right and wrong": 3,
    }
    assert report.values["share of right responses, champion"] == pytest.approx(1 / 3)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["given.parquet", "out.parquet"]


def test_policies_on_the_way_and_other_models_add_responses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another model's context is shorter: it is not asked the long problem."""
    asked = []

    def load(policy: Path, _: Any) -> ScriptedSampler:
        asked.append(policy)
        context = 5 if policy.name == "other" else 1000
        return ScriptedSampler(lambda p, n: Response(p.id, n, "cot", f"{policy.name} {n}", "7"), context)

    monkeypatch.setattr(reward_data, "load_sampler", load)
    for step in (12, 3):
        (tmp_path / "sft" / "earlier" / str(step)).mkdir(parents=True)
    write_models(tmp_path)
    (tmp_path / "policy").rename(tmp_path / "other")
    names = ("a", "b", "a long one", "c")
    write_problems(tmp_path / "given.parquet", [Problem(name, f"{name}?", "7") for name in names])
    other = str(tmp_path / "other")
    config = RewardDataConfig(samples=2, earlier_samples=1, models=(other,), model_samples=3)

    def run(config: RewardDataConfig) -> StageReport:
        return reward_data.run(
            problems=tmp_path / "given.parquet",
            policy=tmp_path / "sft",
            out=tmp_path / "out.parquet",
            config=config,
            seed=0,
        )

    report = run(config)
    assert [path.name for path in asked] == ["sft", "3", "12", "other"]
    kept = list(read_responses(tmp_path / "out.parquet"))
    mine = ["sft", "sft", "sft, step 3", "sft, step 12"]
    order = ("a", "a long one", "b", "c")  # CoT, then TIR
    expected = {name: [*mine, *([] if name == "a long one" else 3 * [other])] for name in order}
    assert [(r.problem_id, r.model) for r in kept] == [
        (name, model) for name in order for model in expected[name]
    ]
    assert [r.sample for r in kept if r.problem_id == "a long one"] == [0, 1, 2, 3]
    assert report.generated == len(kept) == 25
    assert report.notes == [f"Too long for {other}: 1 problems."]
    rmtree(tmp_path / "sft" / "earlier")
    assert run(RewardDataConfig(samples=2, earlier_samples=1)).notes == [
        "The SFT model has no earlier policies: sft.earlier is 0, or it took too few steps."
    ]
    with pytest.raises(BadModel, match="nowhere"):
        run(RewardDataConfig(samples=2, models=(str(tmp_path / "nowhere"),)))
