"""Losses, their gradients and the shaped reward against plain Python loops over floats, on random inputs."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mathloop.training.losses import (
    importance_weights,
    listwise_reward_loss,
    shaped_reward,
)

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


@given(st.integers(1, 40), st.sampled_from([0.5, 1.0, 2.0, 8.0]), seeds)
def test_importance_weights_are_the_capped_ratio(count: int, cap: float, seed: int) -> None:
    trainer, sampler = normal(seed, count), normal(seed + 1, count)
    leaf = torch.tensor(trainer, requires_grad=True)
    weights = importance_weights(leaf, torch.tensor(sampler), cap)
    expected = [min(math.exp(a - b), cap) for a, b in zip(trainer, sampler, strict=True)]
    assert weights.tolist() == pytest.approx(expected, **EXACT)
    assert not weights.requires_grad


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
