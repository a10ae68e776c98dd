"""Saves a model folder whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from safetensors import SafetensorError

from mathloop.errors import StorageRefused


def save_folder(folder: Path, write: Callable[[Path], None]) -> None:
    """Lets `write` fill a neighboring folder, then puts it in the place of `folder`.

    Raises StorageRefused when the disk does not take it; nothing half-written stays.
    """
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        write(partial)
        shutil.rmtree(folder, ignore_errors=True)
        os.replace(partial, folder)
    except (OSError, SafetensorError) as error:  # safetensors wraps what the disk says
        raise StorageRefused(
            f"{folder}: the model cannot be saved ({error}); free some space or choose another place"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
