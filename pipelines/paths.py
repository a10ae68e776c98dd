"""What can be wrong with a path, in one line each, and folders that a failure leaves as they were."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mathloop.errors import BadConfig, StorageRefused
from mathloop.remedies import explain


def check_text(path: Path) -> None:
    """Raises BadConfig where a name is not UTF-8: settings, logs and artifacts could not hold it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise BadConfig(f"{path}: the name is not UTF-8; rename it or choose another place") from None


def check_folder(path: Path) -> None:
    """Raises StorageRefused where `path` is not a folder to write in and cannot become one."""
    path = path.absolute()
    check_text(path)
    standing = next(above for above in (path, *path.parents) if os.path.lexists(above))
    if not standing.is_dir():
        raise StorageRefused(explain(NotADirectoryError(errno.ENOTDIR, "Not a folder", str(standing))))
    if not os.access(standing, os.W_OK | os.X_OK):
        raise StorageRefused(explain(PermissionError(errno.EACCES, "Permission denied", str(standing))))


@contextmanager
def tidied(*folders: Path) -> Iterator[None]:
    """Where its body fails, takes away again what it made of folders, at or in these, that are empty."""
    ways = [(folder, *folder.parents) for folder in map(Path.absolute, folders)]
    made = [folder for way in ways for folder in way if not os.path.lexists(folder)]
    there = {path for folder in folders if folder.is_dir() for path in folder.iterdir()}
    try:
        yield
    except BaseException as error:
        if isinstance(error, OSError):
            error.filename = error.filename or str(folders[0])  # a full disk does not say where
        made = [path for folder in folders if folder.is_dir() for path in folder.iterdir()] + made
        for folder in made:
            for inner, _, _ in os.walk(folder, topdown=False) if folder not in there else ():
                with suppress(OSError):
                    os.rmdir(inner)
        raise
