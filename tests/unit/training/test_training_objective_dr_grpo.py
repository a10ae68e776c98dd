"""Dr. GRPO against plain Python loops over floats, against TRL's, and as the recipe runs it.

TRL's is `loss_type="dr_grpo"` with `scale_rewards="none"`; with its default, `"group"`, TRL keeps GRPO's
division by the standard deviation. Its constant is `max_completion_length`, mathloop's is
`sampling.max_tokens`. mathloop's advantages are 0 in a group whose standard deviation is below 1e-6; TRL's
are rounding errors there.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mathloop.models.loading import load_policy
from mathloop.sampling.config import SamplingConfig
from mathloop.training.config import GRPOConfig
from mathloop.training.objectives.dr_grpo import DR_GRPO
from tests.unit.training import trl_peers
from tests.unit.training.logged_rollouts import Steps, assert_gradient, response_logprobs, run
from tests.unit.training.objective_batches import (
    MAX_TOKENS,
    RolloutBatch,
    gradient_of,
    kl_estimate,
    near_the_clip,
    rollout_batches,
    seeds,
)
from tests.unit.training.trl_peers import GROUPS, SIZE, normal

EXACT = {"rel": 1e-6, "abs": 1e-6}


def slow_loss(batch: RolloutBatch) -> tuple[float, list[float]]:
    """(loss, its gradient by every token's log-probability)."""
    loss, gradient = 0.0, []
    for response in batch.responses:
        for token in response.tokens:
            ratio = math.exp(token.new - token.old)
            bound = min(max(ratio, 1 - batch.clip), 1 + batch.clip_high)
            gain, slope = ratio * response.advantage, ratio * response.advantage
            if bound * response.advantage < gain:
                gain, slope = bound * response.advantage, 0.0
            divergence, divergence_slope = kl_estimate(token) if batch.beta else (0.0, 0.0)
            loss -= token.importance * gain - batch.beta * divergence
            gradient.append(-(token.importance * slope - batch.beta * divergence_slope))
    scale = len(batch.responses) * MAX_TOKENS
    return loss / scale, [slope / scale for slope in gradient]


@given(rollout_batches())
def test_the_loss_is_a_sum_over_tokens_divided_by_a_constant(batch: RolloutBatch) -> None:
    every = [token for response in batch.responses for token in response.tokens]
    assume(not any(near_the_clip(math.exp(token.new - token.old), batch) for token in every))
    value, gradient = slow_loss(batch)
    tokens = batch.pack(DR_GRPO)
    loss, _ = DR_GRPO.loss(tokens, batch.config)
    assert loss.item() == pytest.approx(value, **EXACT)
    assert gradient_of(loss, tokens) == pytest.approx(gradient, **EXACT)


@given(st.integers(1, 5), st.integers(2, 9), seeds)
def test_advantages_are_differences_from_the_mean_of_the_group(groups: int, size: int, seed: int) -> None:
    rewards = normal(seed, groups, size).tolist()
    for row, advantages in zip(rewards, DR_GRPO.advantages(torch.tensor(rewards)).tolist(), strict=True):
        assert advantages == pytest.approx([r - sum(row) / size for r in row], rel=1e-5, abs=1e-6)


@pytest.fixture(scope="module")
def trainer(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Any:
    pytest.importorskip("trl", reason="TRL is not installed: pip install -e '.[benchmark]'")
    folder = trl_peers.write_policy(tmp_path_factory.mktemp("policy"), tokenizer)
    return trl_peers.make_grpo_trainer(folder, loss_type="dr_grpo", scale_rewards="none")


@settings(max_examples=50)
@given(st.lists(st.integers(0, 7), min_size=GROUPS * SIZE, max_size=GROUPS * SIZE), seeds)
def test_the_loss_and_its_gradient_are_those_of_trl(trainer: Any, lengths: list[int], seed: int) -> None:
    trl_peers.assert_trl_agrees(DR_GRPO, trainer, lengths, seed)


@settings(max_examples=20)
@given(seeds)
def test_the_advantages_are_those_of_trl(trainer: Any, seed: int) -> None:
    rewards = normal(seed, GROUPS, SIZE)
    peer = trl_peers.trl_advantages(trainer, rewards)
    torch.testing.assert_close(peer, DR_GRPO.advantages(rewards).flatten(), rtol=1e-5, atol=1e-6)


def test_the_recipe_takes_the_gradient_of_the_logged_rollouts(
    trained: Path, letters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = Steps(monkeypatch)
    limit = SamplingConfig(max_tokens=60)
    _, rows = run(trained, tmp_path, objective="dr_grpo", tir_share=1.0, beta=0.1, sampling=limit)
    config = GRPOConfig(problems_per_step=4, group_size=4)
    net, _ = load_policy(trained / "policy")
    new = list(response_logprobs(net, rows, letters, config.temperature))
    assert len({len(logprobs) for logprobs in new}) > 1
    loss = torch.zeros(())
    for first in range(0, 16, 4):
        group = rows[first : first + 4]
        rewards = [1 / (1 + math.exp(-0.5 * row["reward"])) + row["correct"] - 1 for row in group]
        for i, row in enumerate(group):
            assert row["advantage"] == pytest.approx(rewards[i] - sum(rewards) / 4, abs=1e-5)
            # Of the first step: the ratio is 1, and the KL's gradient is 0.
            for logprob in new[first + i]:
                loss = loss - torch.exp(logprob - logprob.detach()) * row["advantage"] / 16 / 60
    assert_gradient(net, loss, steps.gradients[0])
