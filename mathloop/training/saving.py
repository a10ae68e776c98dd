"""Saves a model folder whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from mathloop.files import disk, replacing_folder
from mathloop.remedies import os_error
from mathloop.training.adapters import LORA, whole_weights
from mathloop.training.engine import Engine


def save_policy(folder: Path, engine: Engine, policy: Any, tokenizer: Any) -> None:
    """Saves `policy` as `engine` trained it, adapters merged in; every rank calls this, the first writes."""
    trained: dict[str, Tensor] = {}
    with engine.whole():
        adapted = any(LORA in name for name, _ in policy.named_parameters())
        weights = whole_weights(policy) if adapted else engine.weights()
        for name, whole in weights:
            if engine.ranks.first:
                trained[name if adapted else name.removeprefix("model.")] = whole.to("cpu", copy=True)
    if engine.ranks.first:
        save_model(folder, policy, tokenizer, trained)
    engine.ranks.wait()


def save_model(folder: Path, model: Any, tokenizer: Any, weights: dict[str, Tensor] | None = None) -> None:
    """Saves a model with its tokenizer: as it is, or with other `weights` of the same names."""

    def write(partial: Path) -> None:
        model.save_pretrained(partial, state_dict=weights)
        tokenizer.save_pretrained(partial)

    save_folder(folder, write)


def save_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Replaces `folder` by one that `write` fills.

    Raises StorageRefused if the disk refuses; nothing half-written stays.
    """
    with replacing_folder(folder) as partial, disk(folder):
        try:
            write(partial)
        except SafetensorError as error:
            raise os_error(error) from None
