"""Reward data of two policies, balanced per problem."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mathloop.records import Problem, Response, read_responses, write_problems
from mathloop.synthesis import reward_data
from mathloop.synthesis.config import RewardDataConfig
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
