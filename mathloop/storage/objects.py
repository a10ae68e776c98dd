"""The interface of a store's storage: a flat map from keys to whole objects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from mathloop.errors import MathloopError

CHUNK = 1 << 20
"""Bytes moved at a time."""


class Taken(MathloopError):
    """Another writer created this entry first; nothing was changed."""


class Absent(MathloopError):
    """There is no object under this key."""


class Readable(Protocol):
    """Bytes to store; raises if they are not those that were announced."""

    def read(self, size: int, /) -> bytes:
        """Returns at most `size` bytes, none at the end."""

    def seek(self, offset: int, /) -> object:
        """Goes back to the beginning: `offset` is 0."""


class Objects(Protocol):
    """Keys are `/`-joined, relative and already checked. Every method may raise StorageRefused."""

    @property
    def url(self) -> str:
        """The URL or path as the user wrote it, without credentials."""

    def put(self, key: str, source: Readable, size: int, sha256: str) -> None:
        """Writes `size` bytes of `source`, whole or not at all, replacing any existing object."""

    def create(self, key: str, data: bytes) -> None:
        """Writes `data` if the key is free, whole or not at all; raises Taken if it is not."""

    def holds(self, key: str, size: int, sha256: str) -> bool:
        """Whether the object under `key` was put with this length and checksum."""

    def read(self, key: str) -> Iterator[bytes]:
        """Yields the object in chunks; raises Absent."""

    def keys(self, prefix: str) -> Iterator[str]:
        """Yields the keys that start with `prefix`, in any order."""

    def remove(self, key: str) -> None:
        """Removes the object, if there is one."""
