"""RMS norms as one autograd function on a CPU: fewer passes over memory, and fewer tensors kept."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mathloop.models.fast_classes import put_before

_PLAIN = frozenset({"LlamaRMSNorm", "MistralRMSNorm", "Qwen2RMSNorm", "Qwen3RMSNorm", "SmolLM3RMSNorm"})
"""transformers' classes that give weight · x / sqrt(mean x² + variance_epsilon) to linear layers."""


def fuse_norms(model: nn.Module) -> None:
    """Makes every plain RMS norm in `model` a `FastNorm`, in place; on a GPU these are as they were."""
    put_before(model, FastNorm, _PLAIN)


def is_plain_norm(module: nn.Module) -> bool:
    """Whether it is one of those norms, or was before `fuse_norms`."""
    return isinstance(module, FastNorm) or type(module).__name__ in _PLAIN


class FastNorm(nn.Module):
    """Before a transformers RMS norm in the order of classes: float32 states on a CPU take its place."""

    weight: Tensor
    variance_epsilon: float

    def forward(self, hidden_states: Tensor) -> Tensor:
        """[…, hidden] → […, hidden], float32, or bfloat16 where autocast would round it for what follows."""
        both_float32 = hidden_states.dtype == self.weight.dtype == torch.float32
        if not both_float32 or hidden_states.device.type != "cpu":
            return super().forward(hidden_states)  # type: ignore[no-any-return]
        autocast = torch.is_autocast_enabled("cpu")
        dtype = torch.get_autocast_dtype("cpu") if autocast else torch.float32
        out: Tensor = _Norm.apply(hidden_states, self.weight, self.variance_epsilon, dtype)  # type: ignore[no-untyped-call]
        return out


class _Norm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, epsilon: float, dtype: torch.dtype) -> Tensor:
        inverse = torch.rsqrt(states.pow(2).mean(-1, keepdim=True) + epsilon)
        ctx.save_for_backward(states, inverse, weight)
        return (states * inverse).mul_(weight).to(dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        states, inverse, weight = ctx.saved_tensors
        width = states.shape[-1]
        normed = states * inverse
        product = (gradient * normed).reshape(-1, width)  # float32, since `normed` is
        mean = (product @ weight).view_as(inverse).div_(-width)
        back = (gradient * weight).addcmul_(normed, mean).mul_(inverse)
        return back, product.sum(0) if ctx.needs_input_grad[1] else None, None, None
