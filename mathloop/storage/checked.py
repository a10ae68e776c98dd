"""An artifact's files on their way into a store and out of it, compared with the manifest as they pass."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from mathloop.errors import BadData, Corrupt
from mathloop.files import reading
from mathloop.storage.manifest import FileEntry


class CheckedSource:
    """A file to publish; its last chunk is given out only if all of it is what `entry` says.

    Raises BadData if the file cannot be read or changed since `entry` was made.
    """

    def __init__(self, path: Path, entry: FileEntry) -> None:
        self._path, self._entry = path, entry
        self._left = entry.size
        self._digest = hashlib.sha256()
        with reading(path):
            self._file = path.open("rb")

    def __enter__(self) -> CheckedSource:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def seek(self, offset: int, /) -> None:
        self._file.seek(offset)
        self._left, self._digest = self._entry.size, hashlib.sha256()

    def read(self, size: int, /) -> bytes:
        chunk = self._file.read(min(size, self._left))
        self._left -= len(chunk)
        self._digest.update(chunk)
        if (self._left and not chunk) or (not self._left and self._digest.hexdigest() != self._entry.sha256):
            raise BadData("it changed while it was being published; publish it again", path=self._path)
        return chunk


def write_checked(chunks: Iterable[bytes], entry: FileEntry, path: Path) -> None:
    """Writes a fetched file and the folders that it needs.

    Raises:
        Corrupt: the bytes are not those that `entry` describes; the message says only how they differ.
        OSError: the disk refuses.
    """
    digest, size = hashlib.sha256(), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > entry.size:
                break
            digest.update(chunk)
            file.write(chunk)
    if size != entry.size:
        raise Corrupt(f"{size} bytes where the manifest says {entry.size}")
    if digest.hexdigest() != entry.sha256:
        raise Corrupt("another SHA-256")
