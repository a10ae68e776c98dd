"""Safe reading of user-named files, and atomic replacement of files and folders."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import stat
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mathloop.errors import BadData, StorageRefused
from mathloop.remedies import PARTIAL, explain

_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


@contextmanager
def reading(path: Path | str) -> Iterator[None]:
    """Turns the operating system's refusal to read `path` into BadData."""
    try:
        yield
    except FileNotFoundError:
        raise BadData("there is no such file; check the path", path=path) from None
    except OSError as error:
        reason = error.strerror or error
        raise BadData(f"cannot be read ({reason}); give a regular, readable file", path=path) from None


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turns an operating system's refusal at or below `path` into StorageRefused."""
    try:
        yield
    except OSError as error:
        raise StorageRefused(explain(error, path)) from None


def check_plain(path: Path | str) -> None:
    """Raises OSError unless `path` is a regular file: reading a pipe would block, a device never ends."""
    try:
        os.fspath(path).encode()
        kind = stat.S_IFMT(os.stat(path).st_mode)
    except UnicodeEncodeError:
        raise OSError(errno.EINVAL, "its name is not UTF-8") from None
    except ValueError:
        raise OSError(errno.EINVAL, "its name contains a NUL character") from None
    if kind != stat.S_IFREG:
        raise OSError(errno.EINVAL, f"it is {_KINDS.get(kind, 'something else')}, not a regular file")


def open_plain(path: Path | str) -> BinaryIO:
    """Opens a regular file for reading; raises OSError for anything else."""
    check_plain(path)
    return open(path, "rb")


def joined_digest(digests: Sequence[str]) -> str:
    """One digest for several files: of one its own, of more that of all together; empty without any."""
    if len(digests) < 2:
        return "".join(digests)
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def content_digest(path: Path, *, hidden: bool = True) -> str:
    """The SHA-256 of a file's bytes or, of a folder, of the names and digests of all its files.

    Args:
        hidden: whether files count whose path in the folder has a part that begins with a dot.

    Raises:
        OSError: something is not a regular file or cannot be read.
    """
    if path.is_dir():
        inner = sorted(file for file in path.rglob("*") if not file.is_dir())
        inner = [file for file in inner if hidden or not _is_hidden(file.relative_to(path))]
        names = "".join(f"{file.relative_to(path)} {content_digest(file)}\n" for file in inner)
        return hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()
    check_plain(path)
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _is_hidden(inner: Path) -> bool:
    return any(part.startswith(".") for part in inner.parts)


def filled(folder: Path) -> Path | None:
    """The folder; None where it is empty or missing, as that of a model which a run does not have."""
    return folder if folder.is_dir() and any(folder.iterdir()) else None


def check_target(path: Path) -> None:
    """Raises StorageRefused if `path` is something other than a regular file or nothing."""
    with disk(path), suppress(FileNotFoundError):
        check_plain(path)


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yields a new empty file that replaces `path` at the end; a failure leaves everything as it was.

    Links are followed. The new file has a hidden name (`.mathloop-….partial`) beside `path`, which nothing
    reads; if the process is killed, the next replacement of `path` removes it.

    Args:
        durable: return only when the disk has the file, so that it survives a power failure.

    Raises:
        StorageRefused: `path` exists and is not a regular file, or the disk refuses. What the body raises is
            passed on unchanged.
    """
    check_target(path)
    with _beside(path, folder=False) as (partial, target):
        yield partial
        with disk(path):
            if durable:
                sync(partial)
            os.replace(partial, target)
            if durable:
                sync(target.parent)


@contextmanager
def replacing_folder(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yields a new empty folder that replaces `path` at the end, as `replacing` does for a file.

    Whatever was at `path` is removed. Only in the moment between two renames is there nothing at `path`: a
    process killed just then leaves neither the old folder nor the new one.
    """
    with _beside(path, folder=True) as (partial, target):
        yield partial
        with disk(path):
            if durable:
                _sync_tree(partial)
            try:
                os.replace(partial, target)  # nothing is there, or an empty folder
            except OSError:
                if not os.path.lexists(target):
                    raise
                old = target.with_name(f"{_stem(target)}-{uuid.uuid4().hex[:12]}.partial")
                os.replace(target, old)
                try:
                    os.replace(partial, target)
                except BaseException:
                    os.replace(old, target)
                    raise
                with suppress(OSError):
                    _remove(old)
            if durable:
                sync(target.parent)


def write_file(path: Path, content: bytes, *, durable: bool = False) -> None:
    """Writes a file, whole or not at all; raises StorageRefused. `durable` as in `replacing`."""
    with replacing(path, durable=durable) as partial, disk(path):
        partial.write_bytes(content)


@contextmanager
def _beside(path: Path, *, folder: bool) -> Iterator[tuple[Path, Path]]:
    """Creates an empty file or folder beside the one that `path` leads to; removes it at the end."""
    with disk(path):
        # Not `path` itself: /dev/stdout, for one, is a link that must stay.
        target = Path(os.path.realpath(path))
        made = make_parents(target)
    try:
        with disk(path):
            _remove_abandoned(target)
            partial, lock = _create(target, folder)
        try:
            yield partial, target
        finally:
            with suppress(OSError):
                _remove(partial)
            os.close(lock)
    except BaseException:
        remove_empty(made)
        raise


def _stem(target: Path) -> str:
    """What the hidden names for `target` begin with: a hash, since a long name takes no suffix."""
    return f"{PARTIAL}{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}"


def _create(target: Path, folder: bool) -> tuple[Path, int]:
    """A new empty file or folder beside `target`, and a descriptor that locks it while this process lives."""
    while True:
        partial = target.with_name(f"{_stem(target)}-{uuid.uuid4().hex[:12]}.partial")
        if folder:
            partial.mkdir()
        else:
            partial.open("xb").close()
        try:
            lock = os.open(partial, os.O_RDONLY if folder else os.O_RDWR)
        except FileNotFoundError:  # removed by `_remove_abandoned` of another process
            continue
        with suppress(OSError):  # a file system without locks: nobody takes the file for abandoned
            fcntl.flock(lock, fcntl.LOCK_EX)
        if partial.exists():
            return partial, lock
        os.close(lock)


def _remove_abandoned(target: Path) -> None:
    """Removes what killed processes left beside `target`: the kernel released their locks."""
    for partial in target.parent.glob(f"{_stem(target)}-*.partial"):
        with suppress(OSError):
            lock = os.open(partial, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(partial)
            finally:
                os.close(lock)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync_tree(folder: Path) -> None:
    for inner, _, names in os.walk(folder, topdown=False):
        for path in (*(Path(inner, name) for name in sorted(names)), Path(inner)):
            sync(path)


def sync(path: Path) -> None:
    """Returns when the disk has the file, or the folder's list of names."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_parents(path: Path) -> list[Path]:
    """Creates the folders above `path`, all or none; returns the new ones, outermost first."""
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
    """Removes the folders that `make_parents` created, if they are still empty."""
    for folder in reversed(folders):
        with suppress(OSError):
            folder.rmdir()
