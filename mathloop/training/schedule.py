"""Learning rate schedules."""

from __future__ import annotations

import math

from mathloop.training.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, steps: int) -> float:
    """Linear warmup, then a cosine or a straight line down to the final rate at the last of `steps`."""
    warm = max(1, round(config.warmup * steps))
    if step < warm:
        return config.learning_rate * (step + 1) / warm
    done = min(1.0, (step - warm) / max(1, steps - 1 - warm))
    left = 0.5 * (1 + math.cos(math.pi * done)) if config.schedule == "cosine" else 1 - done
    return config.final_learning_rate + (config.learning_rate - config.final_learning_rate) * left
