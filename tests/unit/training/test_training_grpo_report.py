"""What GRPO says of a run: a curve for each mode, and first of all that there was nothing to learn."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from mathloop.models.loading import new_reward_model
from mathloop.records import Response
from mathloop.sampling.config import SamplingConfig
from mathloop.stages import StageReport
from mathloop.training import grpo, rollouts
from mathloop.training.config import GRPOConfig, OptimizerConfig
from tests.unit.training.toy import write_toy

STEPS = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A policy of random weights, which solves nothing, and a reward model that scores all alike."""
    folder = tmp_path_factory.mktemp("grpo-report")
    write_toy(folder)
    reward, tokenizer = new_reward_model(folder / "policy")
    for parameter in reward.head[-1].parameters():
        torch.nn.init.zeros_(parameter)
    reward.save(folder / "silent", tokenizer)
    return folder


def run(folder: Path, work: Path, **given: Any) -> StageReport:
    return grpo.run(
        problems=folder / "problems.jsonl",
        policy=folder / "policy",
        reward_model=folder / "silent",
        model=work / "model",
        work=work / "work",
        config=GRPOConfig(
            steps=STEPS,
            problems_per_step=2,
            group_size=2,
            epochs_per_batch=2,
            sampling=SamplingConfig(max_tokens=6),
            optimizer=OptimizerConfig(learning_rate=1e-4),
            **given,
        ),
        seed=1,
    )


def test_a_run_in_which_no_rollout_is_right_says_so_first(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = run(folder, tmp_path, tir_share=0.0)
    assert report.notes[0].startswith("0 of 16 rollouts are right, so the verifier teaches nothing: select")
    assert "grpo, first step: 0 of 4 rollouts are right" in capsys.readouterr().err
    again = run(folder, tmp_path, tir_share=0.0)  # its last checkpoint is there: nothing is drawn again
    assert again.notes[0] == report.notes[0]


def test_a_run_in_which_all_rewards_of_a_group_are_equal_says_so_first(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def right(gold: str, response: Response) -> Response:
        return replace(response, correct=True)

    monkeypatch.setattr(rollouts, "judge", right)
    report = run(folder, tmp_path, tir_share=0.0)
    assert report.notes[0].startswith("In all 8 groups the rewards are equal, so nothing can be learned")


def test_each_mode_has_a_curve_of_its_own(folder: Path, tmp_path: Path) -> None:
    report = run(folder, tmp_path, tir_share=0.5)
    assert "reward" not in report.curves
    for name in ("reward", "verifier accuracy", "response tokens", "KL", "loss", "sampler ratio"):
        steps = [{x for x, _ in report.curves[f"{name} ({mode})"]} for mode in ("CoT", "TIR")]
        assert steps[0], name
        assert steps[1], name
        assert sorted(steps[0] | steps[1]) == list(range(2 * STEPS))
        assert not steps[0] & steps[1], name
    assert len(report.curves["learning rate"]) == 2 * STEPS


def test_a_batch_belongs_to_the_mode_that_it_was_drawn_in() -> None:
    curves = {"reward": [(float(x), x * 1.0) for x in range(6)], "gradient norm": [(0.0, 1.0)]}
    split = rollouts.split_by_mode(curves, ["tir", "cot", "cot"], 2)
    assert split["reward (TIR)"] == [(0.0, 0.0), (1.0, 1.0)]
    assert split["reward (CoT)"] == [(x, x) for x in (2.0, 3.0, 4.0, 5.0)]
    assert split["gradient norm"] == [(0.0, 1.0)]
    assert rollouts.split_by_mode(curves, ["cot"] * 3, 2) == curves
