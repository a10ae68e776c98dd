"""Every loss and its gradient against plain Python loops over floats, on random inputs."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from mathloop.training.losses import (
    group_advantages,
    grpo_loss,
    importance_weights,
    listwise_reward_loss,
    shaped_reward,
)
from tests.unit.training.toy import response_weights

seeds = st.integers(0, 2**31 - 1)
EXACT = {"rel": 1e-6, "abs": 1e-6}


def normal(seed: int, count: int, scale: float = 1.0) -> list[float]:
    """Floats that float32 holds exactly, so that both sides begin with the same numbers."""
    return (scale * torch.randn(count, generator=torch.Generator().manual_seed(seed))).tolist()


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def slow_listwise(scores: list[float], right: list[bool], problem: list[int]) -> tuple[float, list[float]]:
    """(loss, its gradient by every score)."""
    problems = [
        (members, pairs)
        for p in sorted(set(problem))
        for members in [[i for i, q in enumerate(problem) if q == p]]
        for pairs in [[(i, j) for i in members for j in members if right[i] and not right[j]]]
        if pairs
    ]
    loss, gradient = 0.0, [0.0] * len(scores)
    for _, pairs in problems:
        for i, j in pairs:
            weight = 1 / len(pairs) / len(problems)
            margin = scores[i] - scores[j]
            loss += weight * math.log1p(math.exp(-margin))
            gradient[i] -= weight * sigmoid(-margin)
            gradient[j] += weight * sigmoid(-margin)
    return loss, gradient


@given(st.lists(st.lists(st.booleans(), min_size=1, max_size=6), min_size=1, max_size=5), seeds)
def test_listwise_reward_loss_is_the_mean_over_pairs_then_problems(
    groups: list[list[bool]], seed: int
) -> None:
    right = [verdict for group in groups for verdict in group]
    problem = [i for i, group in enumerate(groups) for _ in group]
    scores = normal(seed, len(right), 3.0)
    given_scores = torch.tensor(scores, requires_grad=True)
    loss = listwise_reward_loss(given_scores, torch.tensor(right), torch.tensor(problem))
    loss.backward()
    value, gradient = slow_listwise(scores, right, problem)
    assert loss.item() == pytest.approx(value, **EXACT)
    assert given_scores.grad is not None
    assert given_scores.grad.tolist() == pytest.approx(gradient, **EXACT)


def slow_grpo(batch: list[dict[str, Any]], groups: int, clip: float, beta: float) -> tuple[float, ...]:
    """(loss, KL, clipped share) and the loss's gradient by every token's log-probability.

    `batch` has the responses in order, each with its group, advantage, and a list of tokens (new, old,
    reference or None, importance, learned).
    """
    loss = kl = bound = 0.0
    gradient = []
    for response in batch:
        size = sum(other["group"] == response["group"] for other in batch)
        learned = [token for token in response["tokens"] if token[4]]
        advantage = response["advantage"]
        for new, old, reference, importance, _ in learned:
            ratio = math.exp(new - old)
            kept = min(max(ratio, 1 - clip), 1 + clip)
            gain, slope = ratio * advantage, ratio * advantage
            if kept * advantage < gain:
                gain, slope = kept * advantage, 0.0
                bound += 1 / len(learned) / size / groups
            divergence = divergence_slope = 0.0
            if reference is not None:
                divergence = math.exp(reference - new) - (reference - new) - 1
                divergence_slope = 1 - math.exp(reference - new)
            weight = 1 / len(learned) / size / groups
            loss -= weight * (importance * gain - beta * divergence)
            kl += weight * divergence
            gradient.append(-weight * (importance * slope - beta * divergence_slope))
    return loss, kl, bound, gradient  # type: ignore[return-value]


@st.composite
def rollout_batches(draw: Any) -> tuple[list[dict[str, Any]], int, float, float]:
    """(responses, groups, clip, beta): masked tokens, zero-variance groups, clips on both sides."""
    groups, size = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    clip, beta = draw(st.sampled_from([0.1, 0.2, 0.5])), draw(st.sampled_from([0.0, 1e-3, 0.2]))
    with_reference, with_importance = draw(st.booleans()), draw(st.booleans())
    chance = torch.Generator().manual_seed(draw(seeds))
    flat = draw(st.integers(0, groups))  # this group teaches nothing; none if it equals `groups`
    batch = []
    for group in range(groups):
        for _ in range(size):
            length = draw(st.integers(1, 7))
            new, drift, gap, weight, dice = torch.randn(5, length, generator=chance)
            old, reference = new + 0.3 * drift, new + 0.5 * gap
            tokens = [
                (
                    float(new[t]),
                    float(old[t]),
                    float(reference[t]) if with_reference else None,
                    float(weight[t].abs()) if with_importance else 1.0,
                    t == 0 or float(dice[t]) > -0.5,
                )
                for t in range(length)
            ]
            advantage = 0.0 if group == flat else float(torch.randn((), generator=chance))
            batch.append({"group": group, "advantage": advantage, "tokens": tokens})
    return batch, groups, clip, beta


@given(rollout_batches())
def test_grpo_loss_is_the_mean_over_tokens_then_responses_then_groups(
    given_batch: tuple[list[dict[str, Any]], int, float, float],
) -> None:
    batch, groups, clip, beta = given_batch
    tokens = [(i, t) for i, response in enumerate(batch) for t in response["tokens"] if t[4]]
    # At the very edge of the clip float32 and float64 may stand on different sides.
    assume(all(abs(abs(math.exp(t[0] - t[1]) - 1) - clip) > 1e-4 for _, t in tokens))
    value, kl, bound, gradient = slow_grpo(batch, groups, clip, beta)

    width = max(len(response["tokens"]) for response in batch)
    rows = [[float(t[4]) for t in response["tokens"]] for response in batch]
    mask = torch.tensor([row + [0.0] * (width - len(row)) for row in rows])
    weights = response_weights(mask, len(batch))[mask > 0]
    new = torch.tensor([t[0] for _, t in tokens], requires_grad=True)
    referenced = tokens[0][1][2] is not None
    loss, divergence, clipped = grpo_loss(
        new,
        torch.tensor([t[1] for _, t in tokens]),
        torch.tensor([batch[i]["advantage"] for i, _ in tokens]),
        weights,
        clip=clip,
        beta=beta,
        reference_logprobs=torch.tensor([t[2] for _, t in tokens]) if referenced else None,
        importance=torch.tensor([t[3] for _, t in tokens]),
    )
    loss.backward()
    assert loss.item() == pytest.approx(value, **EXACT)
    assert divergence.item() == pytest.approx(kl, **EXACT)
    assert clipped.item() == pytest.approx(bound, **EXACT)
    assert new.grad is not None
    assert new.grad.tolist() == pytest.approx(gradient, **EXACT)
    assert not divergence.requires_grad
    assert not clipped.requires_grad


def test_the_clip_takes_what_is_worse() -> None:
    # Ratio and advantage of one token each; both clips, and on both sides the case that is not clipped.
    ratio, advantages = torch.tensor([1.5, 0.5, 0.5, 1.5]), torch.tensor([1.0, -1.0, 1.0, -1.0])
    new = ratio.log().requires_grad_()
    loss, _, clipped = grpo_loss(new, torch.zeros(4), advantages, torch.full((4,), 0.25), clip=0.2)
    assert loss.item() == pytest.approx(-(1.2 - 0.8 + 0.5 - 1.5) / 4)
    assert clipped.item() == pytest.approx(0.5)
    (gradient,) = torch.autograd.grad(loss, new)
    assert gradient.tolist() == pytest.approx([0.0, 0.0, -0.5 / 4, 1.5 / 4])


@given(st.integers(1, 40), st.sampled_from([0.5, 1.0, 2.0, 8.0]), seeds)
def test_importance_weights_are_the_capped_ratio(count: int, cap: float, seed: int) -> None:
    trainer, sampler = normal(seed, count), normal(seed + 1, count)
    leaf = torch.tensor(trainer, requires_grad=True)
    weights = importance_weights(leaf, torch.tensor(sampler), cap)
    expected = [min(math.exp(a - b), cap) for a, b in zip(trainer, sampler, strict=True)]
    assert weights.tolist() == pytest.approx(expected, **EXACT)
    assert not weights.requires_grad


@given(st.integers(1, 5), st.integers(2, 9), seeds)
def test_advantages_are_standard_scores_of_each_group(groups: int, size: int, seed: int) -> None:
    rewards = [normal(seed + g, size) for g in range(groups)]
    assume(all(max(row) - min(row) > 1e-2 for row in rewards))
    for row, found in zip(rewards, group_advantages(torch.tensor(rewards)).tolist(), strict=True):
        mean = sum(row) / size
        spread = math.sqrt(sum((r - mean) ** 2 for r in row) / (size - 1))
        assert found == pytest.approx([(r - mean) / spread for r in row], rel=1e-5, abs=1e-5 * size)


def test_a_group_with_no_spread_teaches_nothing() -> None:
    rewards = torch.tensor([[0.3, 0.3, 0.3], [0.0, 0.5, 1.0]])
    advantages = group_advantages(rewards)
    assert torch.equal(advantages[0], torch.zeros(3))
    assert torch.allclose(advantages[1], torch.tensor([-1.0, 0.0, 1.0]))


@given(st.integers(1, 30), st.sampled_from([0.0, 0.1, 0.5, 1.0]), seeds)
def test_the_shaped_reward_is_its_formula(count: int, alpha: float, seed: int) -> None:
    scores, dice = normal(seed, count, 4.0), normal(seed + 1, count)
    verdicts = [float(d > 0) for d in dice]
    found = shaped_reward(torch.tensor(scores), torch.tensor(verdicts), alpha)
    expected = [sigmoid(alpha * s) + v - 1 for s, v in zip(scores, verdicts, strict=True)]
    assert found.tolist() == pytest.approx(expected, **EXACT)


@pytest.mark.parametrize("alpha", [0.1, 0.5, 1.0])
def test_every_right_answer_outranks_every_wrong_one(alpha: float) -> None:
    scores = torch.linspace(-15, 15, 61)
    right, wrong = (shaped_reward(scores, torch.full((61,), verdict), alpha) for verdict in (1.0, 0.0))
    assert right.min() > wrong.max()
    for rewards in (right, wrong):
        assert bool((rewards.diff() > 0).all())  # among equals the reward model decides
