"""One optimizer loop under all recipes: schedule, clipping, checkpoints, a stop when a number is not finite.

Plain torch in one process. DeepSpeed and several ranks come behind this same class.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections import Counter
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
        self.step = self.saved = 0
        self.curves: dict[str, list[tuple[float, float]]] = {}
        self.counts: Counter[str] = Counter()
        """What a recipe counts (tokens, groups); goes on after a kill, as `curves` do."""
        self._started, self._before = time.monotonic(), 0.0
        self.optimizers = _optimizers(model, config)

    def learning_rate(self, step: int) -> float:
        """Linear warmup, then a cosine down to the floor at the last step."""
        config = self.config
        warm = max(1, round(config.warmup * self.total_steps))
        if step < warm:
            return config.learning_rate * (step + 1) / warm
        done = (step - warm) / max(1, self.total_steps - 1 - warm)
        fall = config.learning_rate - config.final_learning_rate
        return config.final_learning_rate + fall * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    @property
    def seconds(self) -> float:
        """Time spent on the steps so far, that of killed attempts up to their checkpoint included."""
        return self._before + time.monotonic() - self._started

    def update(self, *, checkpoint: bool = True, **values: float) -> None:
        """Clips, steps, and records `values` and the gradient norm at this step.

        A checkpoint that is due waits for an update with `checkpoint`, where a recipe can start again.
        Raises TrainingDiverged when any of them is not finite; the last checkpoint stands.
        """
        norm = float(nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip))
        values["gradient norm"] = norm
        for name, value in values.items():
            if not math.isfinite(value):
                raise TrainingDiverged(f"{name} is {value} at step {self.step}; lower the learning rate")
            self.curves.setdefault(name, []).append((float(self.step), float(value)))
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = self.learning_rate(self.step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step += 1
        every = self.config.checkpoint_steps
        if checkpoint and self.step // every > self.saved // every and self.step < self.total_steps:
            self.save()

    def save(self) -> None:
        """Writes model, optimizer and curves, whole or not at all."""
        self.file.parent.mkdir(parents=True, exist_ok=True)
        partial = self.file.with_name(self.file.name + ".partial")
        state = {
            "step": self.step,
            "curves": self.curves,
            "counts": dict(self.counts),
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, self.file)
        self.saved = self.step

    def resume(self) -> None:
        """Goes on from the checkpoint, if there is one."""
        if not self.file.is_file():
            return
        state: dict[str, Any] = torch.load(self.file, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step = self.saved = state["step"]
        self.curves, self.counts = state["curves"], Counter(state["counts"])
        self._started, self._before = time.monotonic(), state["seconds"]


def _optimizers(model: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """AdamW on everything; or Muon on the matrices between embedding and logits, AdamW on the rest.

    Muon's update is scaled to AdamW's usual size, so that one learning rate serves both (Moonlight report,
    arXiv 2502.16982).
    """
    ends = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    ends |= {id(p) for name, p in model.named_parameters() if name == "lm_head.weight"}
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    inner = [p for p in matrices if config.optimizer == "muon" and p.ndim == 2 and id(p) not in ends]
    taken = {id(p) for p in inner}
    groups: list[dict[str, Any]] = [
        {"params": [p for p in matrices if id(p) not in taken]},
        {"params": [p for p in model.parameters() if p.ndim < 2], "weight_decay": 0.0},
    ]
    made: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            groups,
            lr=config.learning_rate,
            betas=(0.9, 0.95),
            weight_decay=config.weight_decay,
            fused=True,
        )
    ]
    if inner:
        made.append(
            torch.optim.Muon(
                inner,
                lr=config.learning_rate,
                weight_decay=config.weight_decay,
                adjust_lr_fn="match_rms_adamw",
            )
        )
    return made


def thin(curve: list[tuple[float, float]], points: int = 200) -> list[tuple[float, float]]:
    """At most about `points` points, each the mean of its neighbors."""
    width = max(1, len(curve) // points)
    groups = [curve[i : i + width] for i in range(0, len(curve), width)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]


def order(lengths: Sequence[int], batch_size: int, step: int, seed: int) -> list[int]:
    """The samples of one step, shortest first: a pure function of its arguments.

    A batch is drawn at random, and only then sorted, so that micro-batches of like lengths waste little
    padding. Batches of one length would be batches of one kind of problem, and train far worse.
    """
    batches = max(1, len(lengths) // batch_size)
    epoch, place = divmod(step, batches)
    indices = list(range(len(lengths)))
    random.Random(f"{seed}-{epoch}").shuffle(indices)
    return sorted(indices[place * batch_size : (place + 1) * batch_size], key=lambda i: lengths[i])
