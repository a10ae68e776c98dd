"""Attention layers that turn queries and keys on a packed row in place: fewer passes over memory on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mathloop.models.fast_classes import put_before

_PLAIN = frozenset({"LlamaAttention", "MistralAttention", "Qwen2Attention"})
"""transformers' classes whose queries and keys are turned as they come from their linear layers."""
_ROWS = 512
"""Tokens that are turned at once, so that a CPU's cache holds them."""


def fuse_rotary(model: nn.Module) -> None:
    """Makes every plain attention layer in `model` a `FastAttention`, in place."""
    put_before(model, FastAttention, _PLAIN)


class FastAttention(nn.Module):
    """Before a transformers attention in the order of classes: takes its place on packed rows on a CPU."""

    q_proj: nn.Module
    k_proj: nn.Module
    v_proj: nn.Module
    o_proj: nn.Module
    head_dim: int
    scaling: float

    def forward(
        self, hidden_states: Tensor, position_embeddings: Any = None, *given: Any, **named: Any
    ) -> Any:
        """hidden_states [1, total, hidden] → ([1, total, hidden], None)."""
        plan = named.get("plan")
        if plan is None or hidden_states.device.type != "cpu":
            return super().forward(hidden_states, position_embeddings, *given, **named)
        total = hidden_states.shape[1]
        query, key, value = (
            layer(hidden_states).view(total, -1, self.head_dim)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        cos, sin = (part[0, :, None] for part in position_embeddings)
        query, key = (_Turned.apply(x, cos, sin) for x in (query, key))  # type: ignore[no-untyped-call]
        states = plan.attend(query, key, value, self.scaling)
        return self.o_proj(states.view(1, total, -1)), None


class _Turned(torch.autograd.Function):
    """Rotary embedding of heads [total, heads, width], with `cos` and `sin` [total, 1, width]."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn_all(heads, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _turn_all(gradient, cos, sin, -1), None, None


def _turn_all(heads: Tensor, cos: Tensor, sin: Tensor, way: int) -> Tensor:
    turned = torch.empty(heads.shape, dtype=heads.dtype)
    for start in range(0, len(heads), _ROWS):
        rows = slice(start, start + _ROWS)
        turned[rows] = turn(heads[rows], cos[rows], sin[rows], way)
    return turned


def turn(heads: Tensor, cos: Tensor, sin: Tensor, way: int = 1) -> Tensor:
    """Rotary embedding of heads [rows, heads, width] with `cos` and `sin` [rows, 1, width], in their dtype.

    `way` is 1, or −1 for back.
    """
    half = heads.shape[-1] // 2
    heads = heads.to(cos.dtype)
    turned = heads * cos
    turned[..., :half].addcmul_(heads[..., half:], sin[..., :half], value=-way)
    turned[..., half:].addcmul_(heads[..., :half], sin[..., half:], value=way)
    return turned
