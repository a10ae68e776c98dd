"""GSPO: GRPO with one importance ratio per response, which is clipped as a whole.

The ratio is that of the whole response's probabilities, normalized by its length: the geometric mean of its
tokens' ratios. It varies far less than a token's, so `clip` must be much smaller: the paper clips to 1 −
3e-4 and 1 + 4e-4. Zheng et al. 2025, "Group Sequence Policy Optimization", arXiv 2507.18071, equations 5 to
7. The paper trains without a KL (`beta: 0`); with one, it stays a mean over tokens, as in GRPO.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mathloop.training.config import GRPOConfig
from mathloop.training.objectives import grpo
from mathloop.training.objectives.objective import Objective, Tokens


def loss(tokens: Tokens, config: GRPOConfig) -> tuple[Tensor, dict[str, Tensor]]:
    """The clipped loss with the same ratio (π_θ(y)/π_old(y))^(1/|y|) for every token of a response y."""
    log_ratios = tokens.logprobs - tokens.old_logprobs
    responses = torch.arange(tokens.responses, device=log_ratios.device)
    belongs = tokens.response == responses[:, None]  # [responses, n]; index_add would not be deterministic
    means = torch.where(belongs, log_ratios, 0.0).sum(1) / belongs.sum(1).clamp(min=1)
    return grpo.clipped_loss(torch.exp(means)[tokens.response], tokens, config)


GSPO = Objective(grpo.advantages, grpo.token_weight, loss)
