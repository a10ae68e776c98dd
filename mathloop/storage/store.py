"""A store of named artifacts and append-only logs.

An artifact `rounds/7/policy` is the objects `rounds/7/policy/<path>` and, written last, its manifest
`rounds/7/policy/manifest.json`: if the manifest exists, the artifact is complete. A name's first manifest is
never replaced. Entry 3 of the log `champion` is the object `_logs/champion/000000000003`, written once; no
artifact's name begins with an underscore. Both guarantees rest on one conditional write, which
`check_writable` tests.

If two publishers write different content under one name at the same moment, that is detected but not
prevented: one of them is refused, and if its files reached the store last, `fetch` raises Corrupt.
"""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath

from mathloop.errors import BadData, Corrupt, StorageRefused
from mathloop.files import disk, replacing, replacing_folder
from mathloop.storage.checked import CheckedSource, write_checked
from mathloop.storage.manifest import MANIFEST, RESTORE, FileEntry, Manifest, check_name, describe_source
from mathloop.storage.objects import Absent, Objects, Taken

LOGS = "_logs"
PROBES = "_probe"
MANIFEST_LIMIT = 64 << 20
"""Bytes; about 400,000 files."""


class Store:
    """Artifacts and logs; every method may raise StorageRefused. Opened by `open_store`."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @property
    def url(self) -> str:
        """Where the store is, without credentials."""
        return self._objects.url

    def publish(self, source: Path, name: str) -> Manifest:
        """Stores a file or a folder under `name`: its data first, then the manifest that makes it exist.

        Repeating a killed publish completes it: files that arrived are not sent again. Publishing the same
        content again does nothing.

        Raises:
            BadData: `source` is missing, empty, changing, or contains something other than regular files.
            StorageRefused: `name` already has other content, or is above or below an artifact's name.
        """
        manifest = describe_source(source, check_name(name))
        if not self._is_published(manifest):
            self._check_apart(name)
            for entry in manifest.files:
                self._put(f"{name}/{entry.path}", source, entry, manifest.kind)
            try:
                self._objects.create(f"{name}/{MANIFEST}", manifest.to_json())
            except Taken:
                if not self._is_published(manifest):
                    raise
        # A publish of other content that was killed before its manifest may have left files. They are removed
        # only now that this manifest is there: until then another publisher's could still have come first.
        kept = {f"{name}/{path}" for path in (MANIFEST, *(entry.path for entry in manifest.files))}
        for key in sorted(set(self._objects.keys(f"{name}/")) - kept):
            self._objects.remove(key)
        return manifest

    def fetch(self, name: str, destination: Path) -> Manifest:
        """Copies a whole artifact, verified, to `destination`: a file or a folder, as it was published.

        `destination` may be absent, an empty folder, or an already complete copy.

        Raises:
            Corrupt: a length or checksum differs, or the manifest cannot be trusted; nothing is written.
            StorageRefused: there is no such artifact, or `destination` is something else.
        """
        manifest = self._existing(name)
        if _occupied(destination):
            if _is_copy(destination, manifest):
                return manifest
            raise StorageRefused(
                f"{destination} is not empty and not a copy of {name!r}; choose another place"
            )
        if manifest.kind == "file":
            with disk(destination):
                if destination.is_dir():
                    destination.rmdir()
            with replacing(destination) as partial, disk(destination):
                self._fetch_file(name, manifest.files[0], partial)
        else:
            with replacing_folder(destination) as partial, disk(destination):
                for entry in manifest.files:
                    self._fetch_file(name, entry, partial / entry.path)
        return manifest

    def fetch_file(self, name: str, path: str, destination: Path) -> None:
        """Copies one file of an artifact, verified, to `destination`, which is replaced.

        Raises:
            BadData: the artifact has no such file.
            Corrupt: its length or checksum differs, or the manifest cannot be trusted.
            StorageRefused: there is no such artifact.
        """
        manifest = self._existing(name)
        entry = next((one for one in manifest.files if one.path == path), None)
        if entry is None:
            raise BadData(f"{self.url}: {name!r} has no file {path!r}; {RESTORE}")
        with replacing(destination) as partial, disk(destination):
            self._fetch_file(name, entry, partial)

    def read_object(self, key: str) -> Iterator[bytes]:
        """Yields an object that nobody published, in chunks; raises Absent."""
        return self._objects.read(check_name(key))

    def object_keys(self, prefix: str) -> Iterator[str]:
        """Yields the keys below `prefix`/, sorted, of objects that nobody published."""
        yield from sorted(self._objects.keys(f"{check_name(prefix)}/"))

    def exists(self, name: str) -> bool:
        """Whether `name` was published completely; raises Corrupt if its manifest cannot be read."""
        return self._stored(check_name(name)) is not None

    def size(self, name: str) -> int:
        """Bytes of an artifact's files. Raises StorageRefused if there is none, Corrupt for its manifest."""
        return sum(entry.size for entry in self._existing(name).files)

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yields the names of complete artifacts that start with `prefix`, sorted."""
        if prefix:
            check_name(prefix.removesuffix("/"))
        tail = f"/{MANIFEST}"
        found = (key.removesuffix(tail) for key in self._objects.keys(prefix) if key.endswith(tail))
        yield from sorted(name for name in found if not name.startswith("_"))

    def remove(self, name: str) -> None:
        """Removes an artifact, its manifest first, so that a half-removed one is never taken for complete."""
        self._objects.remove(f"{check_name(name)}/{MANIFEST}")
        for key in list(self._objects.keys(f"{name}/")):
            self._objects.remove(key)

    def append(self, log: str, number: int, record: bytes) -> None:
        """Writes entry `number` (from 0) of an append-only log, if nobody did.

        Raises:
            Taken: the entry exists. Of any number of concurrent writers, exactly one succeeds.
        """
        self._objects.create(entry_key(log, number), record)

    def read_log(self, log: str) -> Iterator[tuple[int, bytes]]:
        """Yields (number, record) of every entry, in order of the numbers.

        Raises:
            Corrupt: an entry is listed but has no content.
        """
        prefix = f"{LOGS}/{check_name(log)}/"
        names = (key.removeprefix(prefix) for key in self._objects.keys(prefix))
        numbers = sorted(int(name) for name in names if re.fullmatch(r"[0-9]{12}", name))
        for number in numbers:
            try:
                yield number, b"".join(self._objects.read(entry_key(log, number)))
            except Absent:
                message = f"{self.url}: {entry_key(log, number)} is listed but has no content"
                raise Corrupt(f"{message}; {RESTORE}") from None
        # Ask for the next entry by name: a listing can lag behind, and does not show a folder in its place.
        following = numbers[-1] + 1 if numbers else 0
        with suppress(Absent):
            yield following, b"".join(self._objects.read(entry_key(log, following)))

    def check_writable(self) -> None:
        """Creates a probe, checks that it cannot be created twice, and removes it again, in any case."""
        key = f"{PROBES}/{uuid.uuid4().hex}"
        conditional = "use a server with conditional writes"
        try:
            self._objects.create(key, b"mathloop")
        except Taken:
            message = f"{self.url} reports that a new name is already taken"
            raise StorageRefused(f"{message}; {conditional}") from None
        try:
            self._objects.create(key, b"somebody else")
        except Taken:
            pass
        else:
            remedy = f"two champions could overwrite each other; {conditional}"
            raise StorageRefused(f"{self.url} ignores If-None-Match: {remedy}")
        finally:
            self._objects.remove(key)

    def _put(self, key: str, source: Path, entry: FileEntry, kind: str) -> None:
        if not self._objects.holds(key, entry.size, entry.sha256):
            with CheckedSource(source / entry.path if kind == "folder" else source, entry) as file:
                self._objects.put(key, file, entry.size, entry.sha256)

    def _fetch_file(self, name: str, entry: FileEntry, path: Path) -> None:
        try:
            write_checked(self._objects.read(f"{name}/{entry.path}"), entry, path)
        except Absent:
            lost = f"{self.url}: {name!r} has lost its file {entry.path!r}"
            raise Corrupt(f"{lost}; {RESTORE}") from None
        except Corrupt as error:
            raise Corrupt(f"{self.url}: file {entry.path!r} of {name!r} has {error}; {RESTORE}") from None

    def _existing(self, name: str) -> Manifest:
        manifest = self._stored(check_name(name))
        if manifest is None:
            raise StorageRefused(f"{self.url} has no artifact {name!r}; check the name, or publish it first")
        return manifest

    def _stored(self, name: str) -> Manifest | None:
        data = bytearray()
        try:
            for chunk in self._objects.read(f"{name}/{MANIFEST}"):
                data += chunk
                if len(data) > MANIFEST_LIMIT:
                    message = f"{self.url}: the manifest of {name!r} is longer than {MANIFEST_LIMIT} bytes"
                    raise Corrupt(f"{message}; {RESTORE}")
        except Absent:
            return None
        try:
            return Manifest.from_json(bytes(data), name)
        except Corrupt as error:
            raise Corrupt(f"{self.url}: {error}") from None

    def _is_published(self, manifest: Manifest) -> bool:
        stored = self._stored(manifest.name)
        if stored is not None and stored != manifest:
            message = f"{self.url}: {manifest.name!r} is already published with other content"
            raise StorageRefused(f"{message}; publish under another name")
        return stored is not None

    def _check_apart(self, name: str) -> None:
        above = [str(parent) for parent in PurePosixPath(name).parents][:-1]
        other = next((parent for parent in above if self.exists(parent)), None)
        # Its own name may be there by now: another publisher of the same content was quicker.
        other = other or next((found for found in self.names(f"{name}/") if found != name), None)
        if other is not None:
            message = f"{self.url}: {name!r} and the artifact {other!r} would be one inside the other"
            raise StorageRefused(f"{message}; publish under another name")


def entry_key(log: str, number: int) -> str:
    """The object that holds entry `number` of a log."""
    if not 0 <= number < 10**12:
        raise ValueError(f"log entries are numbered from 0, not {number}")
    return f"{LOGS}/{check_name(log)}/{number:012d}"


def _occupied(destination: Path) -> bool:
    with disk(destination):
        if destination.is_dir() and not destination.is_symlink():
            return any(destination.iterdir())
        return os.path.lexists(destination)


def _is_copy(destination: Path, manifest: Manifest) -> bool:
    try:
        return describe_source(destination, manifest.name) == manifest
    except BadData:
        return False
