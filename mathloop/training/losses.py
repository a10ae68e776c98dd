"""The losses of the recipe, each a few lines, tested against slow obvious versions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def shaped_reward(scores: Tensor, verdicts: Tensor, alpha: float = 0.5) -> Tensor:
    """σ(α·r_m) + (r_v − 1) (Paper §3.3): any right answer outranks every wrong one. All [responses]."""
    return torch.sigmoid(alpha * scores) + (verdicts - 1.0)


def group_advantages(rewards: Tensor, least_spread: float = 1e-6) -> Tensor:
    """(r − mean)/std inside each group: rewards [groups, size] → the same shape.

    A group with no spread teaches nothing: its advantages are zero.
    """
    mean = rewards.mean(dim=1, keepdim=True)
    spread = rewards.std(dim=1, keepdim=True)
    return torch.where(spread > least_spread, (rewards - mean) / spread.clamp(min=least_spread), 0.0)


def importance_weights(old_logprobs: Tensor, sampler_logprobs: Tensor, cap: float) -> Tensor:
    """min(π_trainer/π_sampler, cap) of each token: corrects for a sampler whose arithmetic differs.

    Truncated importance sampling (Yao et al. 2025, "Your efficient RL framework secretly brings you
    off-policy RL training"). Any shape, without gradient.
    """
    return torch.exp(old_logprobs - sampler_logprobs).clamp(max=cap).detach()


def grpo_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    weights: Tensor,
    *,
    clip: float,
    beta: float = 0.0,
    reference_logprobs: Tensor | None = None,
    importance: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Clipped objective minus β·KL, each token by its weight (Paper §3.3).

    All are of one shape, a number for each token that the model wrote; a token's weight is 1 over the length
    of its response and over the number of responses of the global batch. The KL is Schulman's unbiased,
    non-negative estimate, 0 without a reference. Returns (loss, weighted KL, weighted share of clipped
    tokens), all scalars; only the loss has a gradient.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    clipped = ratio.clamp(1 - clip, 1 + clip) * advantages
    gain = torch.minimum(ratio * advantages, clipped)
    bound = (clipped < ratio * advantages).to(weights.dtype)
    if importance is not None:
        gain = gain * importance
    divergence = torch.zeros_like(logprobs)
    if reference_logprobs is not None:
        gap = reference_logprobs - logprobs
        divergence = torch.exp(gap) - gap - 1
    loss = -((gain - beta * divergence) * weights).sum()
    return loss, (divergence.detach() * weights).sum(), (bound * weights).sum().detach()


def listwise_reward_loss(scores: Tensor, right: Tensor, problem: Tensor) -> Tensor:
    """−mean over a problem's k·(n−k) pairs of log σ(r_pos − r_neg), then over problems (Paper §3.2).

    `scores`, `right` (bool) and `problem` (index) are [responses]. Problems without a pair do not count.
    """
    pairs = right[:, None] & ~right[None, :] & (problem[:, None] == problem[None, :])
    losses = -functional.logsigmoid(scores[:, None] - scores[None, :])
    losses = torch.where(pairs, losses, 0.0).sum(1)
    totals = torch.zeros(int(problem.max()) + 1, dtype=losses.dtype, device=losses.device)
    sums = totals.index_add(0, problem, losses)
    counts = totals.index_add(0, problem, pairs.sum(1).to(losses.dtype))
    used = counts > 0
    return (sums[used] / counts[used]).mean() if bool(used.any()) else scores.sum() * 0.0
