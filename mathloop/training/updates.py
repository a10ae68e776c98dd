"""Backward and optimizer step with full weights on every rank: plain torch, no DeepSpeed.

`zero.py` has the same interface over DeepSpeed. Both name a parameter's state by `weight` and the optimizer's
keys (AdamW: exp_avg, exp_avg_sq), as full float32 tensors, so that each can read the other's checkpoints, at
any number of ranks.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mathloop.training.config import OptimizerConfig
from mathloop.training.muon import Muon
from mathloop.training.ranks import Ranks

WEIGHT = "weight"


class PlainUpdates:
    """Gradients are summed over the ranks once per step, and every rank takes the same step."""

    def __init__(self, module: nn.Module, config: OptimizerConfig, ranks: Ranks, autocast: bool) -> None:
        self.module, self._config, self._ranks, self._autocast = module, config, ranks, autocast
        self.named = {name: p for name, p in module.named_parameters() if p.requires_grad}
        self._optimizers = optimizers(module, config)
        self._stepped_by = {
            id(parameter): optimizer
            for optimizer in self._optimizers
            for group in optimizer.param_groups
            for parameter in group["params"]
        }

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """The module's own forward, in bfloat16 if configured."""
        with torch.autocast(self._ranks.device.type, torch.bfloat16, enabled=self._autocast):
            return self.module(*inputs, **named)

    def backward(self, loss: Tensor) -> None:
        """Adds this rank's share of the gradient."""
        loss.backward()  # type: ignore[no-untyped-call]

    def step(self, rate: float) -> float | None:
        """Clips and steps; returns the norm before clipping. If it is not finite, no step is taken."""
        self._ranks.sum_gradients(list(self.named.values()))
        norm = nn.utils.clip_grad_norm_(self.named.values(), self._config.clip)
        if not torch.isfinite(norm):
            return float(norm)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def keys(self, name: str) -> list[str]:
        """Keys of a parameter's tensors for a checkpoint: its weight and its full-size optimizer state."""
        parameter = self.named[name]
        state = self._state(parameter)
        return [
            WEIGHT,
            *sorted(k for k, v in state.items() if torch.is_tensor(v) and v.shape == parameter.shape),
        ]

    def read(self, name: str, key: str) -> Tensor:
        """One full tensor; every rank calls this, in the same order."""
        parameter = self.named[name]
        return (parameter if key == WEIGHT else self._state(parameter)[key]).detach()

    def write(self, name: str, key: str, value: Tensor) -> None:
        """Restores a tensor that `read` returned."""
        parameter = self.named[name]
        if key == WEIGHT:
            parameter.data.copy_(value)
        else:
            self._state(parameter)[key] = value.to(parameter.device, torch.float32, copy=True)

    def resume_at(self, step: int) -> None:
        """Sets the optimizers' step count; called after every `write`."""
        for optimizer in self._optimizers:
            if isinstance(optimizer, torch.optim.AdamW):
                for group in optimizer.param_groups:
                    for parameter in group["params"]:
                        optimizer.state[parameter]["step"] = torch.tensor(
                            float(step), device=parameter.device
                        )

    def _state(self, parameter: nn.Parameter) -> dict[str, Any]:
        state: dict[str, Any] = self._stepped_by[id(parameter)].state[parameter]
        return state


def optimizers(module: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """AdamW on everything; or Muon on the matrices between embedding and logits, AdamW on the rest.

    Muon's update is scaled to AdamW's usual magnitude, so that one learning rate serves both (Moonlight
    report, arXiv 2502.16982).
    """
    trained = {name: p for name, p in module.named_parameters() if p.requires_grad}
    ends = {id(m.weight) for m in module.modules() if isinstance(m, nn.Embedding)}
    ends |= {id(p) for name, p in trained.items() if name.endswith("lm_head.weight")}
    matrices = [p for p in trained.values() if p.ndim >= 2]
    inner = [p for p in matrices if config.optimizer == "muon" and p.ndim == 2 and id(p) not in ends]
    inner_ids = {id(p) for p in inner}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in matrices if id(p) not in inner_ids]},
        {"params": [p for p in trained.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    built: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            [group for group in groups if group["params"]],
            lr=config.learning_rate,
            betas=(0.9, 0.95),
            weight_decay=config.weight_decay,
            fused=True,
        )
    ]
    if inner:
        built.append(
            Muon(
                inner,
                lr=config.learning_rate,
                weight_decay=config.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return built
