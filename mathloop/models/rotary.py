"""Attention layers that turn queries and keys on a packed row in place: fewer passes over memory on a CPU."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_PLAIN = frozenset({"LlamaAttention", "MistralAttention", "Qwen2Attention"})
"""transformers' classes whose queries and keys are turned as they come from their linear layers."""
_ROWS = 512
"""Tokens that are turned at once, so that a CPU's cache holds them."""


def fuse_rotary(model: nn.Module) -> None:
    """Makes every plain attention layer in `model` a `FastAttention`, in place."""
    for module in model.modules():
        if type(module).__name__ in _PLAIN:
            module.__class__ = _fast_class(type(module))


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


_FAST: dict[Any, Any] = {}
"""transformers' class → the one that takes its place."""


def _fast_class(plain: Any) -> Any:
    if plain not in _FAST:
        _FAST[plain] = type(f"Fast{plain.__name__}", (FastAttention, plain), {})
    return _FAST[plain]


class _Turned(torch.autograd.Function):
    """Rotary embedding of heads [total, heads, width], with `cos` and `sin` [total, 1, width]."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turn(heads, cos, sin, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        cos, sin = ctx.saved_tensors
        return _turn(gradient, cos, sin, -1), None, None


def _turn(heads: Tensor, cos: Tensor, sin: Tensor, way: int) -> Tensor:
    """Turned in the precision of `cos`, then rounded; `way` is 1, or −1 for back."""
    half = heads.shape[-1] // 2
    turned = torch.empty(heads.shape, dtype=heads.dtype)
    for start in range(0, len(heads), _ROWS):
        rows = slice(start, start + _ROWS)
        some, sines = heads[rows].to(cos.dtype), sin[rows]
        out = some * cos[rows]
        out[..., :half].addcmul_(some[..., half:], sines[..., :half], value=-way)
        out[..., half:].addcmul_(some[..., :half], sines[..., half:], value=way)
        turned[rows] = out
    return turned
