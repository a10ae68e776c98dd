"""A store of named artifacts and append-only logs.

An artifact `rounds/7/policy` is the objects `rounds/7/policy/<path>` and, written last, its manifest
`rounds/7/policy/manifest.json`: where the manifest is, everything is. The first manifest of a name stands for
ever. Entry 3 of the log `champion` is the object `_logs/champion/000000000003`, written once; no artifact's
name begins with an underscore. Both facts rest on one conditional write, which `check_writable` tries out.

Two publishers of different content under one name, at the same moment, are the one case that is only
detected: one of them is refused, and if its files reached the store last, `fetch` says Corrupt.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit

from mathloop.errors import BadData, Corrupt, StorageRefused
from mathloop.files import disk, reading, replacing, replacing_folder
from mathloop.lines import is_blank, shown
from mathloop.storage.local import LocalObjects
from mathloop.storage.manifest import MANIFEST, RESTORE, FileEntry, Manifest, check_name, describe_source
from mathloop.storage.objects import Absent, Objects, Taken
from mathloop.storage.s3 import S3Objects

LOGS = "_logs"
PROBES = "_probe"
MANIFEST_LIMIT = 64 << 20
"""Bytes; about 400,000 files."""
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def open_store(url: str) -> Store:
    """Opens a store in a folder (a path or `file:///…`) or in a bucket (`s3://bucket/prefix`).

    S3 takes its endpoint and keys from the environment: MATHLOOP_S3_ENDPOINT (http://host:port),
    MATHLOOP_S3_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN. Nothing is sent yet.

    Raises:
        StorageRefused: the URL is none of these, or a variable is not set.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        parts = SplitResult("unknown", "", "", "", "")
    path = None
    if "://" not in url and not url.startswith(("file:", "s3:")):
        path = url
    elif parts.query or parts.fragment:
        pass
    elif parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/"):
        path = unquote(parts.path)
    elif parts.scheme == "s3" and BUCKET.fullmatch(parts.netloc):
        prefix = parts.path.strip("/")
        return Store(S3Objects(parts.netloc, check_name(prefix) if prefix else ""))
    if path is None or is_blank(path) or "\0" in path:
        # Whatever stands before an @ may be a password.
        told = shown(url.rpartition("@")[2])
        raise StorageRefused(
            f"{told} is not a store; expected a folder, file:///folder or s3://bucket/prefix"
        )
    return Store(LocalObjects(Path(path)))


class Store:
    """Artifacts and logs; every method may raise StorageRefused."""

    def __init__(self, objects: Objects) -> None:
        self._objects = objects

    @property
    def url(self) -> str:
        """Where the store is, without credentials."""
        return self._objects.url

    def publish(self, source: Path, name: str) -> Manifest:
        """Stores a file or a folder under `name`: its data first, then the manifest that makes it exist.

        A publish that was killed is completed by repeating it: files that arrived are not sent again.
        Publishing the same content again does nothing.

        Raises:
            BadData: `source` is missing, empty, changing, or holds something other than plain files.
            StorageRefused: `name` already has other content, or is above or below an artifact's name.
        """
        manifest = describe_source(source, check_name(name))
        if not self._settled(manifest):
            self._check_apart(name)
            for entry in manifest.files:
                self._put(f"{name}/{entry.path}", source, entry, manifest.kind)
            try:
                self._objects.create(f"{name}/{MANIFEST}", manifest.to_json())
            except Taken:
                if not self._settled(manifest):
                    raise
        # An earlier publish of other content, killed before its manifest, may have left files. They go when
        # this manifest stands, never before: until then another publisher's may be the one that counts.
        kept = {f"{name}/{path}" for path in (MANIFEST, *(entry.path for entry in manifest.files))}
        for key in sorted(set(self._objects.keys(f"{name}/")) - kept):
            self._objects.remove(key)
        return manifest

    def fetch(self, name: str, destination: Path) -> Manifest:
        """Copies an artifact to `destination` (a file or a folder, as it was published), checked, or nothing.

        `destination` may be absent, an empty folder, or a copy that is already complete.

        Raises:
            Corrupt: a length or checksum differs, or the manifest is not to be trusted.
            StorageRefused: there is no such artifact, or something else stands at `destination`.
        """
        manifest = self._stored(check_name(name))
        if manifest is None:
            raise StorageRefused(f"{self.url} has no artifact {name!r}; check the name, or publish it first")
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
            with replacing(destination) as partial:
                self._fetch_file(name, manifest.files[0], partial, destination)
        else:
            with replacing_folder(destination) as partial:
                for entry in manifest.files:
                    self._fetch_file(name, entry, partial / entry.path, destination)
        return manifest

    def exists(self, name: str) -> bool:
        """Whether `name` was published completely; raises Corrupt where its manifest cannot be read."""
        return self._stored(check_name(name)) is not None

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yields the names of complete artifacts that start with `prefix`, sorted."""
        if prefix:
            check_name(prefix.removesuffix("/"))
        tail = f"/{MANIFEST}"
        found = (key.removesuffix(tail) for key in self._objects.keys(prefix) if key.endswith(tail))
        yield from sorted(name for name in found if not name.startswith("_"))

    def remove(self, name: str) -> None:
        """Forgets an artifact: its manifest first, so that what is half gone is never taken for it."""
        self._objects.remove(f"{check_name(name)}/{MANIFEST}")
        for key in list(self._objects.keys(f"{name}/")):
            self._objects.remove(key)

    def append(self, log: str, number: int, record: bytes) -> None:
        """Writes entry `number` (from 0) of an append-only log, if nobody did.

        Raises:
            Taken: the entry is there; of any number of writers at once, exactly one does not get this.
        """
        self._objects.create(entry_key(log, number), record)

    def read_log(self, log: str) -> Iterator[tuple[int, bytes]]:
        """Yields (number, record) of every entry, in order of the numbers.

        Raises:
            Corrupt: an entry is there by its name only.
        """
        prefix = f"{LOGS}/{check_name(log)}/"
        names = (key.removeprefix(prefix) for key in self._objects.keys(prefix))
        numbers = sorted(int(name) for name in names if re.fullmatch(r"[0-9]{12}", name))
        for number in numbers:
            try:
                yield number, b"".join(self._objects.read(entry_key(log, number)))
            except Absent:
                message = f"{self.url}: {entry_key(log, number)} is a name without content"
                raise Corrupt(f"{message}; {RESTORE}") from None
        # The next is asked for by its name: a listing can be late, and shows no folder in an entry's place.
        following = numbers[-1] + 1 if numbers else 0
        with suppress(Absent):
            yield following, b"".join(self._objects.read(entry_key(log, following)))

    def check_writable(self) -> None:
        """Writes, overwrites in vain, reads and removes a probe; a failure leaves nothing behind."""
        key = f"{PROBES}/{uuid.uuid4().hex}"
        conditional = "use a server with conditional writes"
        try:
            self._objects.create(key, b"mathloop")
        except Taken:
            message = f"{self.url} says of a new name that it is taken"
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
            with _Vouched(source / entry.path if kind == "folder" else source, entry) as file:
                self._objects.put(key, file, entry.size, entry.sha256)

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

    def _settled(self, manifest: Manifest) -> bool:
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

    def _fetch_file(self, name: str, entry: FileEntry, path: Path, destination: Path) -> None:
        digest, size = hashlib.sha256(), 0
        with disk(destination):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                try:
                    for chunk in self._objects.read(f"{name}/{entry.path}"):
                        size += len(chunk)
                        if size > entry.size:
                            break
                        digest.update(chunk)
                        file.write(chunk)
                except Absent:
                    lost = f"{self.url}: {name!r} has lost its file {entry.path!r}"
                    raise Corrupt(f"{lost}; {RESTORE}") from None
        if size != entry.size or digest.hexdigest() != entry.sha256:
            found = (
                f"{size} bytes where the manifest says {entry.size}"
                if size != entry.size
                else "another SHA-256"
            )
            raise Corrupt(f"{self.url}: file {entry.path!r} of {name!r} has {found}; {RESTORE}")


class _Vouched:
    """A source file that is read once more, and must be what its entry says."""

    def __init__(self, path: Path, entry: FileEntry) -> None:
        self._path, self._entry = path, entry
        self._left = entry.size
        self._digest = hashlib.sha256()
        with reading(path):
            self._file = path.open("rb")

    def __enter__(self) -> _Vouched:
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def read(self, size: int, /) -> bytes:
        chunk = self._file.read(min(size, self._left))
        self._left -= len(chunk)
        self._digest.update(chunk)
        if (self._left and not chunk) or (not self._left and self._digest.hexdigest() != self._entry.sha256):
            raise BadData("it changed while it was being published; publish it again", path=self._path)
        return chunk


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
