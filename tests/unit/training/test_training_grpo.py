"""GRPO's gradients against those of a slow loss, computed from the logged rollouts."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mathloop.errors import BadConfig
from mathloop.models.loading import load_policy
from mathloop.models.packing import Pack
from mathloop.models.reward_model import RewardModel
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.training import grpo
from mathloop.training.config import EngineConfig, GRPOConfig, OptimizerConfig
from mathloop.training.objectives import OBJECTIVES
from tests.unit.training.logged_rollouts import Steps, assert_gradient, response_logprobs, run


def expected_loss(
    rows: list[dict[str, Any]],
    tokenizer: Any,
    config: GRPOConfig,
    policies: dict[str, Any],
    groups: list[int],
    learned: Callable[[dict[str, Any]], bool] = lambda row: True,
) -> tuple[torch.Tensor, float, float]:
    """(loss, KL, clipped share) of some groups: the paper's formula in loops, from logged rollouts.

    `policies`: the one that learns ("new"), as the batch began ("old"), the KL's ("reference") and,
    if another one drew the rollouts, "sampler".
    """
    size, temperature = config.group_size, config.temperature
    found = {}
    for name, net in policies.items():
        with torch.set_grad_enabled(name == "new"):
            found[name] = list(response_logprobs(net, rows, tokenizer, temperature))
    loss, kl, clipped, weight = torch.zeros(()), 0.0, 0.0, 0.0
    for g in groups:
        members = range(g * size, (g + 1) * size)
        rewards = [
            1 / (1 + math.exp(-config.alpha * rows[i]["reward"])) + float(rows[i]["correct"]) - 1
            for i in members
        ]
        mean = sum(rewards) / size
        spread = math.sqrt(sum((r - mean) ** 2 for r in rewards) / (size - 1))
        if spread < 1e-6:
            continue
        for i, reward in zip(members, rewards, strict=True):
            advantage = (reward - mean) / spread
            assert rows[i]["advantage"] == pytest.approx(advantage, abs=1e-3)
            if not learned(rows[i]):
                continue
            part = 1 / len(found["new"][i]) / size / len(groups)
            for t, new in enumerate(found["new"][i]):
                ratio = torch.exp(new - found["old"][i][t])
                gain = ratio * advantage
                bound = 1 + math.copysign(config.clip, advantage)
                if (ratio.item() - bound) * advantage > 0:
                    gain, clipped = torch.tensor(bound * advantage), clipped + part
                if "sampler" in found:
                    correction = torch.exp(found["old"][i][t] - found["sampler"][i][t]).item()
                    gain = gain * min(correction, config.importance_cap)
                gap = found["reference"][i][t] - new
                divergence = torch.exp(gap) - gap - 1
                kl, weight = kl + part * divergence.item(), weight + part
                loss = loss - part * (gain - config.beta * divergence)
    return loss, kl / weight, clipped / weight


@pytest.mark.parametrize("mode", ["cot", "tir"])
def test_the_first_gradient_is_that_of_the_logged_rollouts(
    trained: Path, letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    steps = Steps(monkeypatch)
    given = {"tir_share": float(mode == "tir"), "temperature": 1.3, "beta": 0.1}
    report, rows = run(trained, tmp_path, **given)
    assert {row["mode"] for row in rows} == {mode}
    assert len({row["text"] for row in rows}) > 4
    if mode == "tir":  # some rollouts read an interpreter's output
        assert sum("```output\n" in row["text"] for row in rows) > 1
    net, _ = load_policy(trained / "policy")
    config = GRPOConfig(problems_per_step=4, group_size=4, temperature=1.3, beta=0.1)
    loss, kl, _ = expected_loss(
        rows, letters, config, {"new": net, "old": net, "reference": net}, list(range(4))
    )
    assert_gradient(net, loss, steps.gradients[0])
    assert report.curves["loss"][0][1] == pytest.approx(loss.item(), abs=1e-5)
    assert kl == 0
    assert report.curves["KL"][0][1] == pytest.approx(0, abs=1e-6)
    # The sampler's log-probabilities are the trainer's own.
    assert report.curves["sampler ratio"][0][1] == pytest.approx(1, abs=1e-4)


def test_mini_batches_take_their_groups_and_epochs_take_them_again(
    trained: Path, letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch)
    given = {"mini_batches": 2, "epochs_per_batch": 2, "beta": 0.2, "clip": 0.1}
    optimizer = OptimizerConfig(learning_rate=3e-3, final_learning_rate=3e-3, warmup=0.0)
    report, rows = run(trained, tmp_path, optimizer=optimizer, **given)
    assert len(steps.gradients) == 4
    start, _ = load_policy(trained / "policy")
    for step, groups in enumerate([[0, 2], [1, 3], [0, 2], [1, 3]]):
        net = steps.policy(trained / "policy", step)
        policies = {"new": net, "old": start, "reference": start}
        config = GRPOConfig(group_size=4, **given)
        loss, kl, clipped = expected_loss(rows, letters, config, policies, groups)
        assert_gradient(net, loss, steps.gradients[step])
        for name, value in [("loss", loss.item()), ("KL", kl), ("clipped share", clipped)]:
            assert report.curves[name][step][1] == pytest.approx(value, rel=1e-4, abs=1e-5), (step, name)
        assert (clipped > 0) == (kl > 0) == (step > 0)  # the policy has moved since the rollouts


def test_a_sampler_with_other_weights_is_corrected_by_truncated_importance_weights(
    trained: Path, letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, _ = load_policy(trained / "policy")
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    monkeypatch.setattr(
        grpo, "begin_sampler", lambda _, net, tokenizer, config: TransformersSampler(other, tokenizer, config)
    )
    steps = Steps(monkeypatch)
    report, rows = run(trained, tmp_path, importance_cap=1.5)
    net, _ = load_policy(trained / "policy")
    config = GRPOConfig(group_size=4, importance_cap=1.5)
    policies = {"new": net, "old": net, "reference": net, "sampler": other}
    loss, _, _ = expected_loss(rows, letters, config, policies, list(range(4)))
    assert_gradient(net, loss, steps.gradients[0])
    with torch.no_grad():
        found = [list(response_logprobs(policy, rows, letters, 1.0)) for policy in (net, other)]
    ratios = [
        torch.exp(new - drawn)
        for row, new, drawn in zip(rows, *found, strict=True)
        if row["advantage"]  # a zero-variance group is not learned
    ]
    for name, most in (("sampler ratio", math.inf), ("capped sampler ratio", 1.5)):
        mean = sum(float(ratio.clamp(max=most).mean()) for ratio in ratios) / len(ratios)
        assert report.curves[name][0][1] == pytest.approx(mean, rel=1e-4)
    assert report.curves["sampler ratio"][0][1] > report.curves["capped sampler ratio"][0][1] + 0.01


def test_responses_cut_at_the_limit_are_masked_if_asked(
    trained: Path, letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch)
    given: dict[str, Any] = {"tir_share": 1.0, "temperature": 1.5, "sampling": SamplingConfig(max_tokens=50)}
    report, rows = run(trained, tmp_path, overlong="mask", epochs_per_batch=2, **given)
    cut = sum(row["finish_reason"] == "length" for row in rows)
    assert 0 < cut < len(rows)
    assert report.curves["truncated share"][0][1] == pytest.approx(cut / len(rows))
    start, _ = load_policy(trained / "policy")
    for step in (0, 1):
        net = steps.policy(trained / "policy", step)
        loss, kl, _ = expected_loss(
            rows,
            letters,
            GRPOConfig(group_size=4, temperature=1.5),
            {"new": net, "old": start, "reference": start},
            list(range(4)),
            learned=lambda row: row["finish_reason"] != "length",
        )
        assert_gradient(net, loss, steps.gradients[step])
        # What is watched is a mean over what is learned.
        assert report.curves["KL"][step][1] == pytest.approx(kl, rel=1e-3, abs=1e-6)
        assert report.curves["sampler ratio"][step][1] == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_size_of_micro_batches_changes_rounding_only(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, objective: str
) -> None:
    runs = []
    for budget in (16, 40, 8192):
        steps = Steps(monkeypatch)
        engine = EngineConfig(micro_batch_tokens=budget)
        given = {"objective": objective, "mini_batches": 2, "engine": engine}
        report, rows = run(trained, tmp_path, name=f"cut{budget}", **given)
        runs.append((report, rows, steps.gradients))
        monkeypatch.undo()
    whole = runs.pop()
    for report, rows, gradients in runs:
        for row, expected in zip(rows, whole[1], strict=True):
            for name in ("reward", "shaped_reward", "advantage"):  # scored in passes of that size
                assert row.pop(name) == pytest.approx(expected[name], abs=1e-4)
            assert row.items() <= expected.items()
        (first, second), (first_whole, second_whole) = gradients, whole[2]
        for name in first:
            assert torch.allclose(first[name], first_whole[name], atol=1e-6, rtol=1e-3), name
            # Adam's first step makes as much of a gradient that is mere rounding as of any other.
            apart = (second[name] - second_whole[name]).norm()
            assert apart <= 0.01 * second_whole[name].norm() + 1e-6, name
        for name in ("loss", "gradient norm", "KL", "sampler ratio"):
            values = [v for _, v in whole[0].curves[name]]
            assert [v for _, v in report.curves[name]] == pytest.approx(values, rel=1e-3, abs=2e-4)


@pytest.mark.parametrize("attention", ["packed", "eager"])
def test_before_the_first_step_the_policy_is_its_own_reference_in_bfloat16(
    trained: Path, tmp_path: Path, attention: str
) -> None:
    engine = EngineConfig(dtype="bfloat16", attention=attention)  # type: ignore[arg-type]
    report, _ = run(trained, tmp_path, engine=engine, beta=0.1, mini_batches=2)
    before, after = (value for _, value in report.curves["KL"])
    assert before == 0.0
    assert after > 0.0


def test_rewards_are_scored_while_the_sampler_sleeps_and_an_error_names_the_setting(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    class Recorded(TransformersSampler):
        def wake(self) -> None:
            events.append("wake")

        def sleep(self) -> None:
            events.append("sleep")

    def forward(model: RewardModel, packed: Pack) -> torch.Tensor:
        events.append(f"score in {next(model.backbone.parameters()).dtype}")
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(grpo, "begin_sampler", lambda _, *given: Recorded(*given))
    monkeypatch.setattr(RewardModel, "forward", forward)
    with pytest.raises(BadConfig, match=r"tokens to score: lower grpo.engine.micro_batch_tokens or"):
        run(trained, tmp_path, engine=EngineConfig(dtype="bfloat16"))
    assert events[:3] == ["wake", "sleep", "score in torch.bfloat16"]
