"""One optimizer loop under all recipes: schedule, clipping, checkpoints, a stop when a number is not finite.

Plain torch in one process. DeepSpeed and several ranks come behind this same class.
"""

from __future__ import annotations

import math
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mathloop.errors import TrainingDiverged
from mathloop.training.config import OptimizerConfig


class Engine:
    """Owns the optimizer of `model`; a recipe calls `backward` for its micro-batches and then `update`."""

    def __init__(self, model: nn.Module, config: OptimizerConfig, total_steps: int, work: Path) -> None:
        self.model, self.config, self.total_steps = model, config, total_steps
        self.file = work / "checkpoint.pt"
        self.step = 0
        self.curves: dict[str, list[tuple[float, float]]] = {}
        matrices = [p for p in model.parameters() if p.ndim >= 2]
        vectors = [p for p in model.parameters() if p.ndim < 2]
        self.optimizer = torch.optim.AdamW(
            [{"params": matrices}, {"params": vectors, "weight_decay": 0.0}],
            lr=config.learning_rate,
            betas=(0.9, 0.95),
            weight_decay=config.weight_decay,
            fused=True,
        )

    def learning_rate(self, step: int) -> float:
        """Linear warmup, then a cosine down to the floor at the last step."""
        config = self.config
        warm = max(1, round(config.warmup * self.total_steps))
        if step < warm:
            return config.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.total_steps - warm)
        fall = config.learning_rate - config.final_learning_rate
        return config.final_learning_rate + fall * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def update(self, **values: float) -> None:
        """Clips, steps, and records `values` and the gradient norm at this step.

        Raises TrainingDiverged when any of them is not finite; the last checkpoint stands.
        """
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip))
        values["gradient norm"] = norm
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingDiverged(f"{name} is {value} at step {self.step}; lower the learning rate")
            self.curves.setdefault(name, []).append((float(self.step), float(value)))
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        if self.step % self.config.checkpoint_steps == 0 and self.step < self.total_steps:
            self.save()

    def save(self) -> None:
        """Writes model, optimizer and curves, whole or not at all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_name(self.file.name + ".partial")
        state = {
            "step": self.step,
            "curves": self.curves,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.file)

    def resume(self) -> None:
        """Goes on from the checkpoint, if there is one."""
        if not self.file.is_file():
            return
        state: dict[str, Any] = torch.load(self.file, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.curves = state["step"], state["curves"]


def thin(curve: list[tuple[float, float]], points: int = 200) -> list[tuple[float, float]]:
    """At most about `points` points, each the mean of its neighbors."""
    width = max(1, len(curve) // points)
    groups = [curve[i : i + width] for i in range(0, len(curve), width)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def order(lengths: Sequence[int], batch_size: int, step: int, seed: int) -> list[int]:
    """The samples of one step: a pure function of its arguments, of like lengths within a batch.

    Every epoch shuffles anew; pools of 32 batches are sorted by length and their batches shuffled again.
    """
    count = len(lengths)
    batches = max(1, count // batch_size)
    epoch, place = divmod(step, batches)
    rng = random.Random(f"{seed}-{epoch}")
    indices = list(range(count))
    rng.shuffle(indices)
    ordered: list[list[int]] = []
    pool = 32 * batch_size
    for start in range(0, count, pool):
        by_length = sorted(indices[start : start + pool], key=lambda i: lengths[i])
        ordered += [by_length[i : i + batch_size] for i in range(0, len(by_length), batch_size)]
    if len(ordered) > 1 and len(ordered[-1]) < batch_size:
        ordered.pop()  # a short last batch waits for another epoch's order
    rng.shuffle(ordered)
    return ordered[place % len(ordered)]
