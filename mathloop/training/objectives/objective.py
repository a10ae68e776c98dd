"""The interface between the GRPO recipe and its objectives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pkgutil import resolve_name

from torch import Tensor

from mathloop.training.config import GRPOConfig
from mathloop.training.objectives import OBJECTIVES


@dataclass(frozen=True)
class BatchSize:
    """Size of a rollout batch over all ranks, to normalize a loss by."""

    responses: int
    """All of them, those of zero-variance groups included."""
    tokens: int
    """Tokens that the policy wrote in these responses."""
    max_tokens: int
    """Limit of tokens per response (`grpo.sampling.max_tokens`)."""


@dataclass(frozen=True)
class Tokens:
    """The learned tokens of a micro-batch, [n] each, response by response. Every response is whole."""

    logprobs: Tensor
    """Under the policy being trained; the only field that has a gradient."""
    old_logprobs: Tensor
    """Under the policy as it was before the first optimizer step on this rollout batch."""
    reference_logprobs: Tensor | None
    """Under the starting policy; None if the KL has no weight."""
    importance: Tensor
    """Truncated importance weights π_old/π_sampler, 1 where the sampler computes as the trainer does."""
    advantages: Tensor
    weights: Tensor
    """`Objective.token_weight` times the number of mini-batches; 0 if it fills up for a rank without data."""
    response: Tensor
    """Which response of the micro-batch each token belongs to."""
    responses: int
    """Number of responses in the micro-batch."""


@dataclass(frozen=True)
class Objective:
    """Three functions that define what a policy maximizes."""

    advantages: Callable[[Tensor], Tensor]
    """Rewards [groups, size] → advantages of the same shape.

    A group whose advantages are all zero is left out of the loss, its KL included.
    """
    token_weight: Callable[[int, BatchSize], float]
    """(tokens that the policy wrote in a response, size of the rollout batch) → weight of each such token.

    The loss is a weighted sum over the tokens of all ranks, so the weights are its normalization too.
    """
    loss: Callable[[Tokens, GRPOConfig], tuple[Tensor, dict[str, Tensor]]]
    """(loss, metrics, "KL" among them), all scalars; only the loss has a gradient.

    Losses of micro-batches are added up. Metrics are sums weighted by `Tokens.weights`; the recipe divides
    them by the total weight, so that a curve shows a weighted mean over the learned tokens.
    """


def load_objective(name: str) -> Objective:
    """The objective that OBJECTIVES lists under `name`."""
    objective: Objective = resolve_name(OBJECTIVES[name])
    return objective
