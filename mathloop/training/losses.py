"""The losses of the recipe, each a few lines, tested against slow obvious versions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def token_logprobs(logits: Tensor, tokens: Tensor) -> Tensor:
    """Log-probability of each next token: logits [batch, seq, vocab] → [batch, seq - 1]."""
    flat = functional.cross_entropy(
        logits[:, :-1].float().reshape(-1, logits.shape[-1]), tokens[:, 1:].reshape(-1), reduction="none"
    )
    return -flat.view(tokens.shape[0], tokens.shape[1] - 1)


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


def grpo_loss(
    logprobs: Tensor,
    old_logprobs: Tensor,
    reference_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    *,
    clip: float,
    beta: float,
) -> tuple[Tensor, Tensor]:
    """Clipped objective minus β·KL, a mean over each response's tokens, then over responses (Paper §3.3).

    The log-probabilities and `mask` (1 where the model wrote the token) are [responses, seq], `advantages`
    [responses]. The KL is Schulman's unbiased, non-negative estimate. Returns (loss, mean KL), both scalars.
    """
    ratio = torch.exp(logprobs - old_logprobs)
    advantage = advantages[:, None]
    gain = torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
    gap = reference_logprobs - logprobs
    divergence = torch.exp(gap) - gap - 1
    lengths = mask.sum(1).clamp(min=1)
    loss = -(((gain - beta * divergence) * mask).sum(1) / lengths).mean()
    return loss, ((divergence.detach() * mask).sum(1) / lengths).mean()


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
