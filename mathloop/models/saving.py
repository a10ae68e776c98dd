"""Saves a model's folder whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from mathloop.files import disk, replacing_folder
from mathloop.models.tokenizers import end_tokens
from mathloop.remedies import os_error


def save_model(folder: Path, model: Any, tokenizer: Any, weights: dict[str, Tensor] | None = None) -> None:
    """Saves a model with its tokenizer: with its own weights, or with other `weights` of the same names.

    A policy's generation config gets all tokens that end a response, so that any engine stops at them.

    Raises StorageRefused as `save_folder` does.
    """

    generation = getattr(model, "generation_config", None)
    if generation is not None:
        generation.eos_token_id = sorted(end_tokens(tokenizer, generation))

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
