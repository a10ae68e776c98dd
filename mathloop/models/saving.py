"""Saves a model's folder whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from mathloop.files import disk, replacing_folder
from mathloop.remedies import os_error


def save_model(folder: Path, model: Any, tokenizer: Any, weights: dict[str, Tensor] | None = None) -> None:
    """Saves a model with its tokenizer: with its own weights, or with other `weights` of the same names.

    Raises StorageRefused as `save_folder` does.
    """

    def write(partial: Path) -> None:
        model.save_pretrained(partial, state_dict=weights)
        tokenizer.save_pretrained(partial)

    save_folder(folder, write)


def save_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Replaces `folder` by one that `write` fills.

    Raises StorageRefused where the disk refuses; nothing half-written is left behind.
    """
    with replacing_folder(folder) as partial, disk(folder):
        try:
            write(partial)
        except SafetensorError as error:
            raise os_error(error) from None
