"""Log-probabilities of the learned tokens, in chunks: memory for logits is bounded."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mathloop.models.attention import hidden_states
from mathloop.models.packing import Pack
from mathloop.training.ranks import most_of_ranks

CHUNK = 2**26
"""Logits per chunk: 256 MiB of float32, of which backward needs up to three."""


class PackedPolicy(nn.Module):
    """A causal language model whose `forward` is `model_logprobs`, since training engines call modules."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, pack: Pack, temperature: float = 1.0) -> Tensor:
        """Log-probabilities of the learned tokens, [n] float32."""
        return model_logprobs(self.model, pack, temperature)


def model_logprobs(model: Any, pack: Pack, temperature: float = 1.0) -> Tensor:
    """Log-probabilities of the learned tokens of `pack` under a causal language model, [n] float32.

    The head is applied only to states that predict a learned token. It is called as a module, so that
    ZeRO-3 gathers its weights.
    """
    states = hidden_states(model, pack).index_select(0, pack.at)
    return token_logprobs(model.get_output_embeddings(), states, pack.targets, temperature=temperature)


def token_logprobs(head: nn.Linear, states: Tensor, targets: Tensor, *, temperature: float = 1.0) -> Tensor:
    """Log-probability of each of `targets` [n] in `head(states)`, states [n, hidden] → [n] float32.

    More than CHUNK logits are computed in chunks and recomputed in the backward pass. They are reduced in
    float32. A head whose weights are sharded by ZeRO-3 is called equally often on every rank, with no state
    where a rank has fewer: each call gathers the weights from all of them.
    """

    def part(states: Tensor, targets: Tensor) -> Tensor:
        logits = head(states).float()
        if temperature != 1.0:
            logits = logits / temperature
        return -functional.cross_entropy(logits, targets, reduction="none")

    rows = max(1, CHUNK // head.out_features)
    count = max(1, -(-len(states) // rows))
    if hasattr(head.weight, "ds_id"):
        count = most_of_ranks(count, states.device)
    if count == 1:
        return part(states, targets)
    pieces = zip(torch.tensor_split(states, count), torch.tensor_split(targets, count), strict=True)
    return torch.cat([checkpoint(part, *piece, use_reentrant=False) for piece in pieces])
