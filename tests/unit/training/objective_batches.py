"""Random rollout batches to test objectives: floats for a slow reference, and `Tokens` for the loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from hypothesis import strategies as st
from torch import Tensor

from mathloop.training.config import GRPOConfig
from mathloop.training.objectives.objective import BatchSize, Objective, Tokens

MAX_TOKENS = 8
"""The batches' limit of tokens per response."""
seeds = st.integers(0, 2**31 - 1)


class Token(NamedTuple):
    new: float
    old: float
    reference: float
    importance: float


class Response(NamedTuple):
    advantage: float
    tokens: list[Token]
    """Those that the policy wrote."""


class RolloutBatch(NamedTuple):
    responses: list[Response]
    clip: float
    clip_high: float
    beta: float

    @property
    def size(self) -> BatchSize:
        tokens = sum(len(response.tokens) for response in self.responses)
        return BatchSize(len(self.responses), tokens, MAX_TOKENS)

    @property
    def config(self) -> GRPOConfig:
        return GRPOConfig(clip=self.clip, clip_high=self.clip_high, beta=self.beta)

    def pack(self, objective: Objective, chosen: Sequence[int] | None = None) -> Tokens:
        """The tokens of some responses (all of them by default) with the objective's weights."""
        some = [self.responses[i] for i in (range(len(self.responses)) if chosen is None else chosen)]
        rows = [
            (*token, response.advantage, objective.token_weight(len(response.tokens), self.size))
            for response in some
            for token in response.tokens
        ]
        new, old, reference, importance, advantages, weights = torch.tensor(rows).T.unbind()
        lengths = torch.tensor([len(response.tokens) for response in some])
        return Tokens(
            logprobs=new.clone().requires_grad_(),
            old_logprobs=old,
            reference_logprobs=reference if self.beta else None,
            importance=importance,
            advantages=advantages,
            weights=weights,
            response=torch.repeat_interleave(torch.arange(len(some)), lengths),
            responses=len(some),
        )


@st.composite
def rollout_batches(draw: Any, drift: float = 0.3) -> RolloutBatch:
    """Up to 8 responses of 1 to 7 tokens, some of advantage 0; log-ratios have standard deviation `drift`."""
    chance = torch.Generator().manual_seed(draw(seeds))
    clips = st.sampled_from([0.1, 0.2, 0.5])
    clip, clip_high, beta = draw(clips), draw(clips), draw(st.sampled_from([0.0, 1e-3, 0.2]))
    without_importance = draw(st.booleans())
    responses = []
    for _ in range(draw(st.integers(1, 8))):
        new, step, gap, weight = torch.randn(4, draw(st.integers(1, 7)), generator=chance)
        importance = torch.ones_like(weight) if without_importance else weight.abs()
        rows = torch.stack([new, new + drift * step, new + 0.5 * gap, importance], 1).tolist()
        advantage = 0.0 if draw(st.integers(0, 4)) == 0 else float(torch.randn((), generator=chance))
        responses.append(Response(advantage, [Token(*row) for row in rows]))
    return RolloutBatch(responses, clip, clip_high, beta)


def near_the_clip(ratio: float, batch: RolloutBatch) -> bool:
    """Whether float32 and float64 may find the ratio on different sides of an edge of the clip."""
    return min(abs(ratio - 1 + batch.clip), abs(ratio - 1 - batch.clip_high)) < 1e-4


def kl_estimate(token: Token) -> tuple[float, float]:
    """(Schulman's estimate of a token's KL, its derivative by the new log-probability)."""
    gap = token.reference - token.new
    return math.exp(gap) - gap - 1, 1 - math.exp(gap)


def gradient_of(loss: Tensor, tokens: Tokens) -> list[float]:
    """The loss's gradient by every token's log-probability."""
    (gradient,) = torch.autograd.grad(loss, tokens.logprobs)
    numbers: list[float] = gradient.tolist()
    return numbers
