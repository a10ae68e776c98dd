"""Log-probabilities of the learned tokens, in chunks: memory for logits is bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from mathloop.models.attention import hidden_states
from mathloop.models.logits import Finish, finish_of
from mathloop.models.packing import Pack
from mathloop.training.ranks import most_of_ranks

CHUNK = 2**26
"""Logits per chunk: 256 MiB of float32, of which backward needs up to three."""

BLOCK = 2**19
"""Logits that a CPU's cache holds: 2 MiB of float32."""
PLAIN = Finish()
"""Of most models: the head's products are the logits."""


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
    return token_logprobs(
        model.get_output_embeddings(),
        states,
        pack.targets,
        temperature=temperature,
        finish=finish_of(model.config),
    )


def token_logprobs(
    head: nn.Linear,
    states: Tensor,
    targets: Tensor,
    *,
    temperature: float = 1.0,
    finish: Finish = PLAIN,
) -> Tensor:
    """Log-probability of each of `targets` [n] in `finish(head(states))`, states [n, hidden] → [n] float32.

    More than CHUNK logits are computed in chunks and recomputed in the backward pass. They are reduced in
    float32. A head whose weights are sharded by ZeRO-3 is called equally often on every rank, with no state
    where a rank has fewer: each call gathers the weights from all of them.
    """

    def part(states: Tensor, targets: Tensor) -> Tensor:
        logits = finish(head(states))
        if logits.device.type == "cpu":
            return _Chosen.apply(logits, targets, temperature)  # type: ignore[no-any-return, no-untyped-call]
        logits = logits.float()
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


class _Chosen(torch.autograd.Function):
    """Log-probabilities of chosen logits, on a CPU: in blocks of rows that stay in its cache."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, temperature: float) -> Tensor:
        ctx.save_for_backward(logits, targets)
        ctx.temperature = temperature
        out = torch.empty(len(logits))
        for rows in _blocks(logits):
            logprobs = torch.log_softmax(_scaled(logits[rows], temperature), -1)
            torch.gather(logprobs, 1, targets[rows, None], out=out[rows, None])
        return out

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        logits, targets = ctx.saved_tensors
        back = torch.empty_like(logits)
        gradient = (gradient / ctx.temperature)[:, None]
        for rows in _blocks(logits):
            shares = torch.softmax(_scaled(logits[rows], ctx.temperature), -1).mul_(-gradient[rows])
            back[rows] = shares.scatter_add_(1, targets[rows, None], gradient[rows])
        return back, None, None


def _blocks(logits: Tensor) -> Iterator[slice]:
    """Slices of the rows, of `BLOCK` logits each or of one row."""
    step = max(1, BLOCK // logits.shape[1])
    return (slice(start, start + step) for start in range(0, len(logits), step))


def _scaled(logits: Tensor, temperature: float) -> Tensor:
    """Float32 logits over the temperature."""
    logits = logits.float()
    return logits if temperature == 1.0 else logits / temperature
