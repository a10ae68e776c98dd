"""Layers in faster forms for a CPU: float32 products by oneDNN where MKL is slow, and fused layers.

MKL uses only half of the vector unit on non-Intel processors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mathloop.models.norm import fuse_norms
from mathloop.models.rotary import fuse_rotary

_LEAST_ROWS = 64
"""With fewer rows, the overhead of oneDNN's calls exceeds what it saves."""


def speed_up(model: nn.Module) -> None:
    """Fuses norms and rotary embeddings in place, and makes `nn.Linear` a `FastLinear` where it is faster."""
    fuse_norms(model)
    fuse_rotary(model)
    if not onednn_is_faster():
        return
    for module in model.modules():
        if type(module) is nn.Linear:
            module.__class__ = FastLinear


@contextmanager
def plain_layers(model: nn.Module) -> Iterator[None]:
    """Inside, every `FastLinear` in `model` is an `nn.Linear` again, as decoding expects."""
    fast: list[nn.Module] = [module for module in model.modules() if type(module) is FastLinear]
    for module in fast:
        module.__class__ = nn.Linear
    try:
        yield
    finally:
        for module in fast:
            module.__class__ = FastLinear


def onednn_is_faster() -> bool:
    """Whether oneDNN uses AVX-512 here and MKL does not: on an AMD processor with AVX-512."""
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not available or torch.backends.cpu.get_cpu_capability() != "AVX512":
        return False
    return "AuthenticAMD" in Path("/proc/cpuinfo").read_text(encoding="utf-8")


class FastLinear(nn.Linear):
    """`nn.Linear` with float32 products on a CPU by oneDNN, forward and backward."""

    def forward(self, input: Tensor) -> Tensor:
        """[…, in] → […, out]."""
        plain = input.dtype == self.weight.dtype == torch.float32 and input.device.type == "cpu"
        few = input.numel() < _LEAST_ROWS * self.in_features
        if not plain or few or torch.is_autocast_enabled("cpu"):
            return super().forward(input)
        out: Tensor = _Product.apply(  # type: ignore[no-untyped-call]
            input.reshape(-1, self.in_features), self.weight, self.bias
        )
        return out.view(*input.shape[:-1], self.out_features)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        # The weight itself, not a view: ZeRO-3 releases it in between and gathers it again.
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
    """[n, out] by [n, in] → [out, in]. The first factor is copied, so it should be the narrower one."""
    if gradient.shape[1] < rows.shape[1]:
        return _multiply(gradient.t(), rows.t())
    return _multiply(rows.t(), gradient.t()).t().contiguous()
