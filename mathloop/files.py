"""Files as people name them: read or refused in one line, and replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mathloop.errors import BadData, StorageRefused

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turns an operating system's refusal to read into BadData."""
    try:
        yield
    except FileNotFoundError:
        raise BadData("there is no such file; check the path", path=path) from None
    except OSError as error:
        reason = error.strerror or error
        raise BadData(f"cannot be read ({reason}); give a plain file that you may read", path=path) from None


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns an operating system's refusal to write into StorageRefused."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        remedy = "free space or choose another place"
        raise StorageRefused(f"{path}: cannot write here ({reason}); {remedy}") from None


def check_plain(path: Path | str) -> None:
    """Raises OSError unless `path` is a plain file: a pipe would be waited for, a device gives anything."""
    try:
        os.fspath(path).encode()
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except UnicodeEncodeError:
        raise OSError(errno.EINVAL, "its name is not UTF-8") from None
    except ValueError:
        raise OSError(errno.EINVAL, "its name holds a NUL character") from None
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')}, not a plain file")


def open_plain(path: Path | str) -> BinaryIO:
    """Opens a plain file for reading; raises OSError for anything else."""
    check_plain(path)
    return open(path, "rb")


def check_target(path: Path) -> None:
    """Raises StorageRefused where something other than a plain file would be replaced."""
    with writing(path), suppress(FileNotFoundError):
        check_plain(path)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yields a new empty file, which takes the place of `path` at the end; a failure leaves all as it was.

    Links are followed. A process that is killed leaves the hidden file `.mathloop-….partial` in the folder,
    which nothing reads and anybody may remove.

    Raises:
        StorageRefused: `path` is there and not a plain file, or the disk refuses.
    """
    check_target(path)
    with writing(path):
        # Not `path` itself: /dev/stdout, for one, is a link that must stay.
        target = Path(os.path.realpath(path))
        made = make_parents(target)
    partial = target.with_name(f".mathloop-{uuid.uuid4().hex}.partial")
    try:
        with writing(path):
            partial.open("xb").close()
        yield partial
        with writing(path):
            os.replace(partial, target)
    except BaseException:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        remove_empty(made)
        raise


def make_parents(path: Path) -> list[Path]:
    """Makes the folders that `path` needs, all or none; returns the new ones, outermost first."""
    made: list[Path] = []
    try:
        for folder in [folder for folder in path.parents if not folder.exists()][::-1]:
            folder.mkdir(exist_ok=True)
            made.append(folder)
    except OSError:
        remove_empty(made)
        raise
    return made


def remove_empty(folders: list[Path]) -> None:
    """Removes what `make_parents` made, as far as it is still empty."""
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()
