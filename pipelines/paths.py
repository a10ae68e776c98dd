"""Checks of paths, and cleanup of new folders after a failure."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mathloop.errors import BadConfig, StorageRefused
from mathloop.remedies import explain


def check_text(path: Path) -> None:
    """Raises BadConfig if a name is not UTF-8: settings, logs and artifacts could not contain it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise BadConfig(f"{path}: the name is not UTF-8; rename it or choose another place") from None


def check_folder(path: Path) -> None:
    """Raises StorageRefused if `path` is not a writable folder and cannot be created."""
    path = path.absolute()
    check_text(path)
    existing = next(above for above in (path, *path.parents) if os.path.lexists(above))
    if not existing.is_dir():
        raise StorageRefused(explain(NotADirectoryError(errno.ENOTDIR, "Not a folder", str(existing))))
    if not os.access(existing, os.W_OK | os.X_OK):
        raise StorageRefused(explain(PermissionError(errno.EACCES, "Permission denied", str(existing))))


def check_page(option: str, path: Path) -> None:
    """Raises BadConfig or StorageRefused if no page can be written at `path`, the value of `option`."""
    if path.is_dir():
        raise BadConfig(f"{option} {path}: expected a file such as page.html, found a folder")
    check_folder(path.parent)


@contextmanager
def tidied(*folders: Path) -> Iterator[None]:
    """If its body fails, removes the empty folders that it created at or inside `folders`."""
    chains = [(folder, *folder.parents) for folder in map(Path.absolute, folders)]
    missing = [folder for chain in chains for folder in chain if not os.path.lexists(folder)]
    old = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}
    try:
        yield
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = error.filename or str(folders[0])  # ENOSPC comes without a path
        candidates = [path for folder in folders if folder.is_dir() for path in folder.iterdir()] + missing
        for folder in candidates:
            for inner, _, _ in os.walk(folder, topdown=False) if folder not in old else ():
                with suppress(OSError):
                    os.rmdir(inner)
        raise
