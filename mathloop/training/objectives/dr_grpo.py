"""Dr. GRPO: GRPO without the two biases of its normalization.

Dividing advantages by the group's standard deviation gives more weight to problems that are too easy or too
hard; dividing by a response's length penalizes long wrong responses less. Dr. GRPO does neither. Liu et al.
2025, "Understanding R1-Zero-Like Training", arXiv 2503.20783, §3 and Listing 1. The paper trains without a
KL (`beta: 0`).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mathloop.training.objectives import grpo
from mathloop.training.objectives.objective import BatchSize, Objective


def advantages(rewards: Tensor) -> Tensor:
    """r − mean within each group, 0 in a zero-variance group: [groups, size] → the same shape."""
    centered = rewards - rewards.mean(dim=1, keepdim=True)
    return torch.where(rewards.std(dim=1, keepdim=True) > grpo.LEAST_STD, centered, 0.0)


def token_weight(length: int, batch: BatchSize) -> float:
    """A sum over the response's tokens, divided by the constant `max_tokens`; a mean over all responses."""
    return 1.0 / batch.max_tokens / batch.responses


DR_GRPO = Objective(advantages, token_weight, grpo.loss)
