"""Writes a checkpoint with all ranks at once: each writes, syncs and hashes a part of the tensors.

At 7B a checkpoint has 91 GB. Ranks that do not see the first one's folder, on other machines with disks of
their own, write nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import torch

from mathloop.errors import StorageRefused
from mathloop.files import disk
from mathloop.storage import FileEntry
from mathloop.training import checkpoint
from mathloop.training.checkpoint import Checkpoints, name_of
from mathloop.training.ranks import Ranks


class Stored(NamedTuple):
    """A tensor of a checkpoint."""

    name: str
    size: int
    """Numbers in it."""
    read: Callable[[], torch.Tensor]
    """Returns it whole; every rank calls this, since it may be gathered from all of them."""


def save_together(
    checkpoints: Checkpoints | None, ranks: Ranks, step: int, tensors: Sequence[Stored], state: dict[str, Any]
) -> None:
    """Writes a checkpoint; every rank calls this, and the first one alone has `checkpoints`.

    Raises StorageRefused on every rank if one of them cannot write its part; there is no new checkpoint then.
    """
    refused: Exception | None = None
    try:
        with ExitStack() as stack:
            _write_part(stack, checkpoints, ranks, step, tensors, state)
    except Exception as error:
        refused = error
    failed = [rank for rank, fails in enumerate(ranks.gather(int(refused is not None))) if fails]
    if failed:
        raise refused or _refused(failed[0], step)


def _write_part(
    stack: ExitStack,
    checkpoints: Checkpoints | None,
    ranks: Ranks,
    step: int,
    tensors: Sequence[Stored],
    state: dict[str, Any],
) -> None:
    """Writes this rank's part into a checkpoint that is complete when `stack` is closed without an error."""
    refused: Exception | None = None
    folder: Path | None = None
    files: list[FileEntry] = []
    if checkpoints is not None:
        try:
            folder, files = stack.enter_context(checkpoints.writing(step, state))
        except Exception as error:
            refused = error
    folder = ranks.broadcast(folder)
    seen = ranks.gather(int(folder is not None and folder.is_dir()))
    writers = [rank for rank, sees in enumerate(seen) if sees]
    owners = _deal([tensor.size for tensor in tensors], writers or [0])

    def own() -> Iterator[tuple[str, torch.Tensor]]:
        for tensor, owner in zip(tensors, owners, strict=True):
            whole = tensor.read()
            if owner == ranks.rank:
                yield tensor.name, whole

    part = own()
    written: list[FileEntry] = []
    if folder is not None and ranks.rank in writers:
        try:
            with disk(folder.with_name(name_of(step))):
                written = checkpoint.write_tensors(folder, part, writers.index(ranks.rank), len(writers))
        except Exception as error:
            refused = error
    for _ in part:  # whoever does not write, or cannot, still takes part in gathering
        pass
    failed = [rank for rank, fails in enumerate(ranks.gather(int(refused is not None))) if fails]
    if failed:
        raise refused or _refused(failed[0], step)
    for entries in ranks.gather_objects(written):
        files += entries


def _refused(rank: int, step: int) -> StorageRefused:
    return StorageRefused(f"process {rank} could not write the checkpoint of step {step}")


def _deal(sizes: Sequence[int], writers: Sequence[int]) -> list[int]:
    """The writer of each tensor: the one that has least so far."""
    load = dict.fromkeys(writers, 0)
    owners = []
    for size in sizes:
        least = min(load, key=load.__getitem__)
        load[least] += size
        owners.append(least)
    return owners
