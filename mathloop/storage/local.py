"""Objects as files below one folder."""

from __future__ import annotations

import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mathloop.files import disk, make_parents, open_plain, remove_empty
from mathloop.storage.objects import CHUNK, Absent, Readable, Taken

UNFINISHED = "_unfinished"
"""Folder of files being written; a killed writer leaves its file here and nowhere else."""
STALE = 24 * 3600.0
"""Seconds after which an unfinished file is taken for abandoned."""


class LocalObjects:
    """A folder, created by the first write."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()

    @property
    def url(self) -> str:
        return str(self.root)

    def put(self, key: str, source: Readable, size: int, sha256: str) -> None:
        with self._unfinished(key) as (file, unfinished, place), disk(self.root):
            while chunk := source.read(CHUNK):
                file.write(chunk)
            self._finish(file)
            # Not files.replacing: a listing of keys must never show a file that is still being written.
            os.replace(unfinished, place)

    def create(self, key: str, data: bytes) -> None:
        taken = False
        with self._unfinished(key) as (file, unfinished, place), disk(self.root):
            file.write(data)
            self._finish(file)
            try:
                # A link appears whole and only if the name is free, which O_EXCL plus a write does not.
                os.link(unfinished, place)
            except FileExistsError:
                taken = True
        if taken:
            raise Taken(f"{self.url}/{key} already exists")

    def holds(self, key: str, size: int, sha256: str) -> bool:
        path = self.root / key
        with disk(self.root):
            if not path.is_file() or path.stat().st_size != size:
                return False
            with path.open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest() == sha256

    def read(self, key: str) -> Iterator[bytes]:
        with disk(self.root / key):
            try:
                file = open_plain(self.root / key)
            except (FileNotFoundError, NotADirectoryError):
                raise Absent(key) from None
            with file:
                while chunk := file.read(CHUNK):
                    yield chunk

    def keys(self, prefix: str) -> Iterator[str]:
        top = self.root / prefix.rpartition("/")[0]
        with disk(self.root):
            for folder, _, names in os.walk(top, onerror=_raise_unless_missing):
                for name in names:
                    key = Path(folder, name).relative_to(self.root).as_posix()
                    if key.startswith(prefix):
                        yield key

    def remove(self, key: str) -> None:
        with disk(self.root):
            (self.root / key).unlink(missing_ok=True)

    @contextmanager
    def _unfinished(self, key: str) -> Iterator[tuple[BinaryIO, Path, Path]]:
        """Yields (open file, its path, the object's path); a failure removes the folders created for them."""
        path, place = self.root / UNFINISHED / uuid.uuid4().hex, self.root / key
        made: list[Path] = []
        try:
            with disk(self.root):
                made += make_parents(path)
                self._sweep()
                file = path.open("xb")
            try:
                with disk(self.root):
                    made += make_parents(place)
                yield file, path, place
            finally:
                # Closing writes the rest of the buffer, which a full disk refuses again.
                with disk(self.root):
                    path.unlink(missing_ok=True)
                    file.close()
        except BaseException:
            remove_empty(made)
            raise

    def _sweep(self) -> None:
        for path in (self.root / UNFINISHED).iterdir():
            with suppress(FileNotFoundError):
                if path.stat().st_mtime < time.time() - STALE:
                    path.unlink()

    @staticmethod
    def _finish(file: BinaryIO) -> None:
        # The data must be on the disk before the manifest that lists it.
        file.flush()
        os.fsync(file.fileno())


def _raise_unless_missing(error: OSError) -> None:
    # A log that cannot be read, or a dangling link in its place, must not look like an empty log.
    path = Path(error.filename)
    existing = next(above for above in (path, *path.parents) if os.path.lexists(above))
    if not isinstance(error, FileNotFoundError) or not existing.exists():
        raise error
