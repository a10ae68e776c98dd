"""Log-probabilities of the learned tokens, never holding more than a bounded piece of the logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mathloop.training.attention import hidden_states
from mathloop.training.packing import Pack

CHUNK = 2**26
"""Most logits at a time, in numbers: 256 MiB of float32, of which backward needs up to three."""


class PackedPolicy(nn.Module):
    """A causal language model whose `forward` is `model_logprobs`, as training engines call modules."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pack: Pack, temperature: float = 1.0) -> Tensor:
        """Log-probabilities of the learned tokens, [n] float32."""
        return model_logprobs(self.model, pack, temperature)


def model_logprobs(model: Any, pack: Pack, temperature: float = 1.0) -> Tensor:
    """Log-probabilities of the learned tokens of `pack` under a causal language model, [n] float32.

    Only states that predict a learned token meet the head. It is called as the module that it is, so that
    ZeRO-3 gathers its weights.
    """
    states = hidden_states(model, pack).index_select(0, pack.at)
    return token_logprobs(model.get_output_embeddings(), states, pack.targets, temperature=temperature)


def token_logprobs(head: nn.Linear, states: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Log-probability of each of `targets` [n] in `head(states)`, states [n, hidden] → [n] float32.

    More than CHUNK logits are made piece by piece, and again on the way back. They are reduced in float32.
    """

    def part(states: Tensor, targets: Tensor) -> Tensor:
        logits = head(states).float()
        if temperature != 1.0:
            logits = logits / temperature
        return -functional.cross_entropy(logits, targets, reduction="none")

    rows = max(1, CHUNK // head.out_features)
    if len(states) <= rows:
        return part(states, targets)
    pieces = zip(torch.split(states, rows), torch.split(targets, rows), strict=True)
    return torch.cat([checkpoint(part, *piece, use_reentrant=False) for piece in pieces])
