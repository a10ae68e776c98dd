"""Objects of a server that may be away for a while: each request is sent again until it is back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from mathloop.errors import StorageAway
from mathloop.retrying import Patience, retrying
from mathloop.storage.objects import Objects, Readable, Taken

T = TypeVar("T")


class PatientObjects:
    """Waits for `seconds` in each call while the server of `objects` is away; see `Objects`."""

    def __init__(self, objects: Objects, seconds: float) -> None:
        self._objects, self._seconds = objects, seconds

    @property
    def url(self) -> str:
        return self._objects.url

    def put(self, key: str, source: Readable, size: int, sha256: str) -> None:
        def attempt() -> None:
            source.seek(0)
            self._objects.put(key, source, size, sha256)

        self._retrying(attempt)

    def create(self, key: str, data: bytes) -> None:
        patience, unclear = Patience(self._seconds), False
        while True:
            try:
                return self._objects.create(key, data)
            except StorageAway as error:
                unclear = True  # it may have been written all the same
                patience.wait(error)
            except Taken:
                if not unclear or b"".join(self.read(key)) != data:
                    raise
                return None

    def holds(self, key: str, size: int, sha256: str) -> bool:
        return self._retrying(lambda: self._objects.holds(key, size, sha256))

    def read(self, key: str) -> Iterator[bytes]:
        patience, sent = Patience(self._seconds), 0
        while True:
            try:
                position = 0
                for chunk in self._objects.read(key):
                    position += len(chunk)
                    if position > sent:  # else it was read before the server went away
                        new = chunk[-(position - sent) :]
                        sent = position
                        yield new
                return
            except StorageAway as error:
                patience.wait(error)

    def keys(self, prefix: str) -> Iterator[str]:
        yield from self._retrying(lambda: list(self._objects.keys(prefix)))

    def remove(self, key: str) -> None:
        self._retrying(lambda: self._objects.remove(key))

    def _retrying(self, call: Callable[[], T]) -> T:
        return retrying(call, away=StorageAway, seconds=self._seconds)
