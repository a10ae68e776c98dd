"""Saves the policy that an engine trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from mathloop.models.saving import save_model
from mathloop.training.adapters import LORA, merged_weights
from mathloop.training.engine import Engine


def save_policy(folder: Path, engine: Engine, policy: Any, tokenizer: Any) -> None:
    """Saves the trained `policy` with its adapters merged; every rank calls this, and rank 0 writes.

    Raises StorageRefused if the disk refuses; nothing half-written is left behind.
    """
    trained: dict[str, Tensor] = {}
    with engine.full_weights():
        adapted = any(LORA in name for name, _ in policy.named_parameters())
        weights = merged_weights(policy) if adapted else engine.weights()
        for name, whole in weights:
            if engine.ranks.first:
                trained[name if adapted else name.removeprefix("model.")] = whole.to("cpu", copy=True)
    if engine.ranks.first:
        save_model(folder, policy, tokenizer, trained)
    engine.ranks.barrier()
