"""The shaped reward, importance weights and the reward model's loss; RL objectives are in `objectives/`."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def shaped_reward(scores: Tensor, verdicts: Tensor, alpha: float = 0.5) -> Tensor:
    """σ(α·r_m) + (r_v − 1) (Paper §3.3): correct answers rank above all wrong ones. All [responses]."""
    return torch.sigmoid(alpha * scores) + (verdicts - 1.0)


def importance_weights(old_logprobs: Tensor, sampler_logprobs: Tensor, cap: float) -> Tensor:
    """min(π_trainer/π_sampler, cap) per token: corrects for a sampler whose arithmetic differs.

    Truncated importance sampling (Yao et al. 2025, "Your efficient RL framework secretly brings you
    off-policy RL training"). Any shape, without gradient.
    """
    return torch.exp(old_logprobs - sampler_logprobs).clamp(max=cap).detach()


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
