"""Checkpoints of a training: the newest few, complete or absent, in a folder and optionally in a store.

A checkpoint is a folder `step-00000120` of safetensors files, `state.json` and `contents.json`, which holds
the SHA-256 of each and is written last; the folder gets its name when all of it is on the disk. Nothing is
pickled. A damaged checkpoint is skipped with a message, and the one before it is used.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from mathloop.errors import BadData, Corrupt, MathloopError, StorageRefused
from mathloop.files import disk, replacing_folder, sync
from mathloop.lines import parse_object
from mathloop.remedies import PARTIAL, os_error
from mathloop.storage import FileEntry, Manifest, Store, describe_source
from mathloop.training.uploads import CONTENTS, NAME, Uploads

_STATE = "state.json"
_FILE_BYTES = 2 << 30
"""All writers together hold about this many bytes of tensors, so that memory stays bounded."""


@dataclass(frozen=True)
class Checkpoint:
    """A complete checkpoint on this disk, with verified checksums."""

    folder: Path
    step: int
    state: dict[str, Any]

    def read(self, name: str) -> torch.Tensor:
        """One tensor, on the CPU."""
        with safe_open(self._places[name], framework="pt") as file:
            tensor: torch.Tensor = file.get_tensor(name)
        return tensor

    @cached_property
    def _places(self) -> dict[str, Path]:
        places = {}
        for path in self.folder.glob("*.safetensors"):
            with safe_open(path, framework="pt") as file:
                places.update(dict.fromkeys(file.keys(), path))
        return places


class Checkpoints:
    """The newest `keep` checkpoints of one training; only its first rank has one of these."""

    def __init__(
        self, folder: Path, *, keep: int, fingerprint: str, store: Store | None = None, prefix: str = ""
    ) -> None:
        """`fingerprint` identifies recipe, settings, weights and data: other checkpoints are not resumed."""
        self.folder, self._keep, self._fingerprint = folder, keep, fingerprint
        self._uploads = Uploads(store, prefix, keep) if store is not None else None
        self.notes: list[str] = []
        """Which checkpoints were skipped, and why."""

    @contextmanager
    def writing(self, step: int, state: dict[str, Any]) -> Iterator[tuple[Path, list[FileEntry]]]:
        """Yields a folder to write tensors into, and the list that their files' entries are added to.

        At the end it is a checkpoint, the oldest is removed, and it is uploaded in the background. Raises
        StorageRefused if the disk refuses; it does not become one then, and earlier ones are untouched.
        """
        final = self.folder / name_of(step)
        files: list[FileEntry] = []
        try:
            with replacing_folder(final, durable=True) as partial, disk(final):
                yield partial, files
                whole = {**state, "step": step, "fingerprint": self._fingerprint}
                (partial / _STATE).write_text(json.dumps(whole), encoding="utf-8")
                files.append(_entry_of(partial / _STATE))
                listed = Manifest(final.name, "folder", tuple(sorted(files, key=lambda entry: entry.path)))
                (partial / CONTENTS).write_bytes(listed.to_json())
        except StorageRefused as error:
            kept = self._names()
            intact = f"the checkpoint of step {kept[-1][0]} is intact" if kept else "there is no earlier one"
            raise StorageRefused(f"{error}, then start again ({intact})") from None
        if self._uploads is not None:
            self._uploads.add(final)
        for _, path in self._names()[: -self._keep]:
            if self._uploads is None or not self._uploads.holds(path):
                shutil.rmtree(path, ignore_errors=True)

    def newest(self) -> Checkpoint | None:
        """The newest valid checkpoint of this training, fetched from the store if the store has a newer one.

        Raises StorageRefused if the store does not answer and there is none here: better to wait for it
        than to start over.
        """
        for abandoned in self.folder.glob(f"{PARTIAL}*"):  # left by a kill during a write
            shutil.rmtree(abandoned, ignore_errors=True)
        while True:
            local = self._names()
            remote = self._stored(here=bool(local))
            if remote is not None and remote[0] > (local[-1][0] if local else -1):
                self._fetch(*remote)
                continue
            if not local:
                return None
            step, path = local[-1]
            try:
                return self._checked(step, path)
            except _Foreign as error:
                self._skip(str(error))
                os.replace(path, path.with_name(f"{path.name}.other-{time.time_ns()}"))
            except Corrupt as error:
                self._skip(str(error))
                shutil.rmtree(path, ignore_errors=True)

    def close(self, seconds: float = 0.0) -> None:
        """Ends the uploads; waits at most `seconds` for the newest checkpoint to arrive."""
        if self._uploads is not None:
            self._uploads.close(seconds)

    def remove_stored(self) -> None:
        """Removes this training's checkpoints from the store."""
        if self._uploads is not None:
            self._uploads.remove_all()

    def _names(self) -> list[tuple[int, Path]]:
        if not self.folder.is_dir():
            return []
        matches = ((NAME.fullmatch(path.name), path) for path in self.folder.iterdir() if path.is_dir())
        return sorted((int(match[1]), path) for match, path in matches if match)

    def _checked(self, step: int, path: Path) -> Checkpoint:
        try:
            written = (path / CONTENTS).read_bytes()
            actual = describe_source(path, path.name)
        except (OSError, BadData):
            raise Corrupt(f"{path} is incomplete") from None
        files = tuple(entry for entry in actual.files if entry.path != CONTENTS)
        if Manifest(path.name, "folder", files).to_json() != written:
            raise Corrupt(f"{path} is damaged")
        try:
            state = parse_object((path / _STATE).read_bytes())
        except ValueError:
            raise Corrupt(f"{path / _STATE} is not JSON") from None
        if state.get("fingerprint") != self._fingerprint or state.get("step") != step:
            raise _Foreign(f"{path} belongs to a training with other data, another model or other settings")
        return Checkpoint(path, step, state)

    def _stored(self, here: bool) -> tuple[int, str] | None:
        try:
            return self._uploads.newest() if self._uploads is not None else None
        except MathloopError as error:
            if not here:
                raise
            print(f"The store's checkpoints cannot be listed ({error}).", file=sys.stderr, flush=True)
            return None

    def _fetch(self, step: int, name: str) -> None:
        assert self._uploads is not None
        try:
            self._uploads.fetch(name, self.folder / name_of(step))
        except Corrupt as error:
            self._skip(str(error))

    def _skip(self, reason: str) -> None:
        note = f"A checkpoint was skipped: {reason}."
        self.notes.append(note)
        print(note, file=sys.stderr, flush=True)


def name_of(step: int) -> str:
    """The name of a checkpoint's folder."""
    return f"step-{step:08d}"


class _Foreign(Corrupt):
    """A checkpoint of another training: renamed, not removed."""


def write_tensors(
    folder: Path, tensors: Iterable[tuple[str, torch.Tensor]], place: int = 0, writers: int = 1
) -> list[FileEntry]:
    """Writes tensors to safetensors files that the disk has when it returns; returns the files' entries.

    Args:
        place: of this writer among the `writers` that write into `folder` at the same time.
    """
    files: list[FileEntry] = []
    pending: dict[str, torch.Tensor] = {}
    size = 0

    def write() -> None:
        path = folder / f"tensors-{len(files) * writers + place:05d}.safetensors"
        try:
            save_file(pending, path)
        except SafetensorError as error:
            raise os_error(error) from None
        sync(path)
        files.append(_entry_of(path))

    for name, tensor in tensors:
        pending[name] = tensor.detach().cpu().contiguous()
        size += tensor.numel() * tensor.element_size()
        if size * writers >= _FILE_BYTES:
            write()
            pending, size = {}, 0
    if pending:
        write()
    return files


def _entry_of(path: Path) -> FileEntry:
    (entry,) = describe_source(path, path.name).files
    return replace(entry, path=path.name)
