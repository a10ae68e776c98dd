"""GRPO's advantages, loss and gradient: against plain Python loops over floats, and against TRL's.

TRL divides the advantages by (std + 1e-4), mathloop by std, and it takes 0 where that is below 1e-6. Both use
Bessel's correction. What differs for every objective is in `trl_peers`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from mathloop.models.packing import Sample, pack
from mathloop.training.config import GRPOConfig
from mathloop.training.logprobs import model_logprobs
from mathloop.training.objectives.grpo import GRPO
from mathloop.training.objectives.objective import BatchSize, Tokens
from tests.unit.training import trl_peers
from tests.unit.training.objective_batches import (
    MAX_TOKENS,
    RolloutBatch,
    gradient_of,
    kl_estimate,
    near_the_clip,
    rollout_batches,
    seeds,
)
from tests.unit.training.trl_peers import BETA, CLIP, GROUPS, SIZE, normal

EXACT = {"rel": 1e-6, "abs": 1e-6}


def slow_loss(batch: RolloutBatch) -> tuple[float, float, float, list[float]]:
    """(loss, KL, clipped share, the loss's gradient by every token's log-probability)."""
    loss = kl = clipped = 0.0
    gradient = []
    for response in batch.responses:
        for token in response.tokens:
            ratio = math.exp(token.new - token.old)
            bound = min(max(ratio, 1 - batch.clip), 1 + batch.clip_high)
            gain, slope = ratio * response.advantage, ratio * response.advantage
            weight = 1 / len(response.tokens) / len(batch.responses)
            if bound * response.advantage < gain:
                gain, slope = bound * response.advantage, 0.0
                clipped += weight
            divergence, divergence_slope = kl_estimate(token) if batch.beta else (0.0, 0.0)
            loss -= weight * (token.importance * gain - batch.beta * divergence)
            kl += weight * divergence
            gradient.append(-weight * (token.importance * slope - batch.beta * divergence_slope))
    return loss, kl, clipped, gradient


@given(rollout_batches())
def test_the_loss_is_a_mean_over_tokens_and_then_over_responses(batch: RolloutBatch) -> None:
    every = [token for response in batch.responses for token in response.tokens]
    assume(not any(near_the_clip(math.exp(token.new - token.old), batch) for token in every))
    value, kl, clipped, gradient = slow_loss(batch)
    tokens = batch.pack(GRPO)
    loss, metrics = GRPO.loss(tokens, batch.config)
    assert loss.item() == pytest.approx(value, **EXACT)
    assert metrics["KL"].item() == pytest.approx(kl, **EXACT)
    assert metrics["clipped share"].item() == pytest.approx(clipped, **EXACT)
    assert gradient_of(loss, tokens) == pytest.approx(gradient, **EXACT)


def test_the_clip_takes_the_smaller_gain() -> None:
    # One token per response; both clips, and for each side the sign of advantage that is not clipped.
    ratio, advantages = torch.tensor([1.5, 0.5, 0.5, 1.5]), torch.tensor([1.0, -1.0, 1.0, -1.0])
    new = ratio.log().requires_grad_()
    zeros, ones = torch.zeros(4), torch.ones(4)
    tokens = Tokens(new, zeros, None, ones, advantages, ones / 4, torch.arange(4), 4)
    loss, metrics = GRPO.loss(tokens, GRPOConfig(clip=0.2, beta=0.0))
    assert loss.item() == pytest.approx(-(1.2 - 0.8 + 0.5 - 1.5) / 4)
    assert metrics["clipped share"].item() == pytest.approx(0.5)
    assert gradient_of(loss, tokens) == pytest.approx([0.0, 0.0, -0.5 / 4, 1.5 / 4])


@given(st.integers(1, 5), st.integers(2, 9), seeds)
def test_advantages_are_standard_scores_within_each_group(groups: int, size: int, seed: int) -> None:
    rewards = normal(seed, groups, size).tolist()
    assume(all(max(row) - min(row) > 1e-2 for row in rewards))
    for row, advantages in zip(rewards, GRPO.advantages(torch.tensor(rewards)).tolist(), strict=True):
        mean = sum(row) / size
        std = math.sqrt(sum((r - mean) ** 2 for r in row) / (size - 1))
        assert advantages == pytest.approx([(r - mean) / std for r in row], rel=1e-5, abs=1e-5 * size)


def test_the_advantages_of_a_zero_variance_group_are_zero() -> None:
    advantages = GRPO.advantages(torch.tensor([[0.3, 0.3, 0.3], [0.0, 0.5, 1.0]]))
    assert torch.equal(advantages[0], torch.zeros(3))
    assert torch.allclose(advantages[1], torch.tensor([-1.0, 0.0, 1.0]))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Any) -> Path:
    return trl_peers.write_policy(tmp_path_factory.mktemp("policy"), tokenizer)


@pytest.fixture(scope="module")
def trainer(folder: Path) -> Any:
    pytest.importorskip("trl", reason="TRL is not installed: pip install -e '.[benchmark]'")
    return trl_peers.make_grpo_trainer(folder, loss_type="grpo")


@settings(max_examples=50)
@given(st.lists(st.integers(0, 7), min_size=GROUPS * SIZE, max_size=GROUPS * SIZE), seeds)
def test_the_loss_and_its_gradient_are_those_of_trl(trainer: Any, lengths: list[int], seed: int) -> None:
    trl_peers.assert_trl_agrees(GRPO, trainer, lengths, seed)


@settings(max_examples=20)
@given(seeds)
def test_the_advantages_are_those_of_trl(trainer: Any, seed: int) -> None:
    rewards = normal(seed, GROUPS, SIZE)
    std = rewards.std(dim=1, keepdim=True)
    expected = GRPO.advantages(rewards) * std / (std + 1e-4)
    peer = trl_peers.trl_advantages(trainer, rewards)
    torch.testing.assert_close(peer, expected.flatten(), rtol=1e-5, atol=1e-6)


def test_a_step_of_a_model_is_that_of_trl(trainer: Any, folder: Path) -> None:
    """From tokens to the gradient of every weight, through TRL's forward pass and through packed samples."""
    from transformers import AutoModelForCausalLM

    generator = torch.Generator().manual_seed(3)
    prompts = [torch.randint(10, 300, (n,), generator=generator).tolist() for n in (7, 4)]
    answers = [torch.randint(10, 300, (n,), generator=generator).tolist() for n in (5, 1, 8, 3, 8, 2)]
    prompted = [(prompts[i // SIZE], answer) for i, answer in enumerate(answers)]
    advantages = normal(1, len(answers))
    width, most = max(map(len, prompts)), max(map(len, answers))
    reference = normal(2, len(answers), most, scale=0.3) - 5
    prompt_ids, prompt_mask = trl_peers.pad([p for p, _ in prompted], width, left=True)
    completion_ids, completion_mask = trl_peers.pad(answers, most, left=False)
    model = trainer.model
    model.zero_grad()
    peer = trainer._compute_loss(
        model,
        {
            "prompt_ids": prompt_ids,
            "prompt_mask": prompt_mask,
            "completion_ids": completion_ids,
            "completion_mask": completion_mask,
            "advantages": advantages,
            "ref_per_token_logps": reference,
        },
    )
    peer.backward()

    own = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).train()
    samples = [Sample(p + a, [0.0] * len(p) + [1.0] * len(a), len(p)) for p, a in prompted]
    packed = pack(samples, share_prompts=True)
    logprobs = model_logprobs(own, packed)
    size = BatchSize(len(answers), sum(map(len, answers)), MAX_TOKENS)
    weights = torch.tensor([GRPO.token_weight(len(answer), size) for answer in answers])
    tokens = Tokens(
        logprobs=logprobs,
        old_logprobs=logprobs.detach(),
        reference_logprobs=_join(reference, answers),
        importance=torch.ones_like(logprobs),
        advantages=advantages[packed.owner],
        weights=weights[packed.owner],
        response=packed.owner,
        responses=len(answers),
    )
    loss, _ = GRPO.loss(tokens, GRPOConfig(clip=CLIP, beta=BETA))
    loss.backward()
    torch.testing.assert_close(loss, peer, rtol=1e-6, atol=1e-6)
    trl_peers.assert_same_gradients(own, model)


def _join(padded: Tensor, answers: Sequence[Sequence[int]]) -> Tensor:
    return torch.cat([row[: len(answer)] for row, answer in zip(padded, answers, strict=True)])
