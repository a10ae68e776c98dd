"""Muon, in float32 where the processor has no fast bfloat16 products."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from mathloop.models.dtypes import fast_bfloat16


class Muon(torch.optim.Muon):
    """torch's Muon; on a CPU without bfloat16 products its iteration runs in float32.

    torch iterates in bfloat16, which such a CPU emulates: a step then takes some ten times as long as the
    rest of the training. State, settings and, where bfloat16 is fast, results are torch's own.
    """

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates every parameter that has a gradient."""
        if fast_bfloat16(self.param_groups[0]["params"][0].device.type):
            super().step(closure)  # type: ignore[no-untyped-call]
            return
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_in_float32(parameter, group)

    def _step_in_float32(self, parameter: Tensor, group: dict[str, float]) -> None:
        gradient = parameter.grad
        assert gradient is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum: Tensor = state["momentum_buffer"]
        momentum.lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
        update = orthogonalized(ahead, group["ns_coefficients"], int(group["ns_steps"]), group["eps"])  # type: ignore[arg-type]
        rate = group["lr"] * 0.2 * math.sqrt(max(parameter.shape))  # match_rms_adamw
        parameter.mul_(1 - group["lr"] * group["weight_decay"]).add_(update, alpha=-rate)


def orthogonalized(
    matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """A matrix with nearly the same singular vectors and singular values near 1, by Newton–Schulz.

    Takes and returns [rows, columns]; the quintic iteration of https://github.com/KellerJordan/Muon.
    """
    a, b, c = coefficients
    tall = matrix.size(0) > matrix.size(1)
    x = matrix.float().T if tall else matrix.float()
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x
