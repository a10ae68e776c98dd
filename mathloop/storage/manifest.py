"""The files of a published artifact: their paths, which stay inside it, lengths and SHA-256 checksums."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from mathloop.errors import BadData, Corrupt, StorageRefused
from mathloop.files import reading
from mathloop.lines import parse_object, shown

MANIFEST = "manifest.json"
FORMAT = 1
RESTORE = "restore it from a copy, or choose another store"
SINGLE_FILE = "file"
"""Path of the only file of an artifact that was published from a file."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,7}")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class FileEntry:
    """One file of an artifact."""

    path: str
    """Relative to the artifact, `/` between its parts."""
    size: int
    """Bytes."""
    sha256: str
    """Lower-case hexadecimal."""


@dataclass(frozen=True)
class Manifest:
    """An artifact; it is complete if its manifest exists."""

    name: str
    kind: Literal["file", "folder"]
    files: tuple[FileEntry, ...]
    """In order of their paths."""

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(entry.size for entry in self.files)

    def to_json(self) -> bytes:
        """The manifest as it is stored; equal manifests give equal bytes."""
        return json.dumps({"format": FORMAT, **asdict(self)}, ensure_ascii=False, indent=1).encode("utf-8")

    @classmethod
    def from_json(cls, data: bytes, name: str) -> Manifest:
        """Parses the manifest that `to_json` wrote for the artifact `name`, without trusting it.

        Raises:
            Corrupt: it is not a manifest of `name`, or a path would lead out of the artifact's folder.
        """
        try:
            value = parse_object(data)
            files = tuple(_entry(item) for item in value["files"])
            manifest = cls(value["name"], value["kind"], files)
        except (ValueError, KeyError, TypeError) as error:
            reason = f"{type(error).__name__}: {error}"[:200]
            raise Corrupt(f"the manifest of {name!r} cannot be read ({reason}); {RESTORE}") from None
        if value.get("format") != FORMAT or manifest.name != name or manifest.kind not in ("file", "folder"):
            raise Corrupt(f"the manifest of {name!r} is not one of format {FORMAT} for that name; {RESTORE}")
        if manifest.kind == "file" and [entry.path for entry in files] != [SINGLE_FILE]:
            raise Corrupt(f"the manifest of {name!r} is of one file but lists others; {RESTORE}")
        paths = {entry.path for entry in files}
        folders = {str(parent) for path in paths for parent in PurePosixPath(path).parents}
        if len(paths) != len(files) or paths & folders:
            raise Corrupt(f"the manifest of {name!r} lists a path twice; {RESTORE}")
        return manifest


def describe_source(source: Path, name: str) -> Manifest:
    """Hashes a file, or every file below a folder, in constant memory.

    Raises:
        BadData: there is nothing, or something that is not a regular file, or a name that cannot be stored.
    """
    if source.is_file():
        return Manifest(name, "file", (_hashed(source, SINGLE_FILE),))
    if not source.is_dir():
        raise BadData("there is no such file or folder to publish", path=source)
    files = [_hashed(path, relative) for relative, path in sorted(_walk(source))]
    if not files:
        raise BadData("the folder is empty; there is nothing to publish", path=source)
    return Manifest(name, "folder", tuple(files))


def check_name(name: str) -> str:
    """Returns `name` if it can name an artifact or a log.

    Raises:
        StorageRefused: it is not one to eight parts of letters, digits, `.`, `_` and `-` with `/` between.
    """
    if not NAME.fullmatch(name) or MANIFEST in name.split("/"):
        expected = "one to eight parts like rounds/7/policy, each of letters, digits, '.', '_' and '-'"
        raise StorageRefused(f"{shown(name)} cannot name an artifact; expected {expected}")
    return name


def wrong_path(path: str) -> str | None:
    """Why a relative path must not be stored or followed; None if it may."""
    parts = path.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\\" in path:
        return "its path leads out of the folder"
    if any(ord(letter) < 32 or 0xD800 <= ord(letter) < 0xE000 for letter in path) or len(path.encode()) > 700:
        return "its path has control characters, is not UTF-8 or is longer than 700 bytes"
    if MANIFEST in parts:
        return f"{MANIFEST} is reserved for the store"
    return None


def _walk(source: Path) -> Iterator[tuple[str, Path]]:
    for folder, folders, names in os.walk(source, onerror=_raise):
        for name in folders:
            if Path(folder, name).is_symlink():
                linked = "a link to a folder cannot be published; put a copy of that folder here"
                raise BadData(linked, path=Path(folder, name))
        for name in names:
            path = Path(folder, name)
            relative = path.relative_to(source).as_posix()
            wrong = wrong_path(relative)
            if wrong is None and not (path.exists() and stat.S_ISREG(path.stat().st_mode)):
                wrong = "it is not a regular file"
            if wrong is not None:
                raise BadData(f"cannot be published: {wrong}; rename or remove it", path=ascii(str(path)))
            yield relative, path


def _raise(error: OSError) -> None:
    with reading(error.filename):
        raise error


def _hashed(path: Path, relative: str) -> FileEntry:
    with reading(path), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileEntry(relative, file.tell(), digest)


def _entry(item: Any) -> FileEntry:
    entry = FileEntry(**item)
    wrong = wrong_path(entry.path) if isinstance(entry.path, str) else "it is not text"
    if wrong is not None:
        raise ValueError(f"path {entry.path!r}: {wrong}")
    if type(entry.size) is not int or entry.size < 0 or not SHA256.fullmatch(entry.sha256):
        raise ValueError(f"file {entry.path!r} has no length and SHA-256")
    return entry
