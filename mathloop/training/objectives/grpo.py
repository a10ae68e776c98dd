"""GRPO: group-relative advantages, a mean over tokens and then over responses, and a clipped ratio per token.

DeepSeekMath, arXiv 2402.03300, equations 3 and 4; recipe paper §3.3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mathloop.training.config import GRPOConfig
from mathloop.training.objectives.objective import BatchSize, Objective, Tokens

LEAST_STD = 1e-6
"""A group with a smaller standard deviation of rewards counts as a zero-variance group."""


def advantages(rewards: Tensor) -> Tensor:
    """(r − mean) / std within each group, std with Bessel's correction: [groups, size] → the same shape."""
    mean = rewards.mean(dim=1, keepdim=True)
    std = rewards.std(dim=1, keepdim=True)
    return torch.where(std > LEAST_STD, (rewards - mean) / std.clamp(min=LEAST_STD), 0.0)


def token_weight(length: int, batch: BatchSize) -> float:
    """A mean over the response's tokens, then over all responses."""
    return 1.0 / max(1, length) / batch.responses


def loss(tokens: Tokens, config: GRPOConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped loss with the ratio π_θ/π_old of each token."""
    return clipped_loss(torch.exp(tokens.logprobs - tokens.old_logprobs), tokens, config)


def clipped_loss(ratio: Tensor, tokens: Tokens, config: GRPOConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """−Σ weight · (importance · min(ratio·A, clip(ratio)·A) − β·KL), with the `ratio` [n] of each token.

    The KL is Schulman's unbiased, non-negative estimate, 0 without a reference. Metrics: KL, clipped share.
    """
    high = config.clip if config.clip_high is None else config.clip_high
    clipped = ratio.clamp(1 - config.clip, 1 + high) * tokens.advantages
    gain = torch.minimum(ratio * tokens.advantages, clipped)
    is_clipped = (clipped < ratio * tokens.advantages).to(tokens.weights.dtype)
    gain = gain * tokens.importance
    kl = torch.zeros_like(tokens.logprobs)
    if tokens.reference_logprobs is not None:
        gap = tokens.reference_logprobs - tokens.logprobs
        kl = torch.exp(gap) - gap - 1
    total = -((gain - config.beta * kl) * tokens.weights).sum()
    return total, {
        "KL": (kl.detach() * tokens.weights).sum(),
        "clipped share": (is_clipped * tokens.weights).sum().detach(),
    }


GRPO = Objective(advantages, token_weight, loss)
