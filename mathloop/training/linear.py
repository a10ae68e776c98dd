"""Float32 linear layers by oneDNN: twice as fast as by MKL, which keeps to AVX2 on other makers' processors."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

_LEAST_ROWS = 64
"""With fewer, as when a sampler decodes, the calls cost what the arithmetic saves."""


def speed_up(model: nn.Module) -> None:
    """Lets every `nn.Linear` in `model` compute as `FastLinear`, in place, where this processor gains by it."""
    if torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() == "AVX512":
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = FastLinear


class FastLinear(nn.Linear):
    """`nn.Linear`, but float32 on the CPU goes through oneDNN, forward and back."""

    def forward(self, input: Tensor) -> Tensor:
        """[…, in] → […, out]."""
        plain = torch.float32 == input.dtype == self.weight.dtype and input.device.type == "cpu"
        if not plain or torch.is_autocast_enabled("cpu") or input.numel() < _LEAST_ROWS * self.in_features:
            return super().forward(input)
        out: Tensor = _Linear.apply(input.flatten(0, -2), self.weight, self.bias)  # type: ignore[no-untyped-call]
        return out.unflatten(0, input.shape[:-1])


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # The weight itself, not a view of it: ZeRO-3 takes it away and brings it back in between.
        ctx.save_for_backward(rows, weight)
        return _multiply(rows, weight, bias)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, weight = ctx.saved_tensors
        wanted = ctx.needs_input_grad
        return (
            _multiply(gradient, weight.t()) if wanted[0] else None,
            _outer(gradient, rows) if wanted[1] else None,
            gradient.sum(0) if wanted[2] else None,
        )


def _multiply(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """[n, in] by [out, in] → [n, out]."""
    return torch.ops.mkldnn._linear_pointwise(rows, weight, bias, "none", [], "")  # type: ignore[no-any-return]


def _outer(gradient: Tensor, rows: Tensor) -> Tensor:
    """[n, out] by [n, in] → [out, in]; the first factor is copied, so it is the narrower one."""
    if gradient.shape[1] < rows.shape[1]:
        return _multiply(gradient.t(), rows.t())
    return _multiply(rows.t(), gradient.t()).t().contiguous()
