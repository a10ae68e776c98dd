"""Records of a stream that are wanted by key: they wait on disk, and only their places are held."""

from __future__ import annotations

import json
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from mathloop.files import disk


class Spill:
    """Records by key, in the order in which they were added; a record takes 8 bytes of memory."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file
        self._places: defaultdict[Hashable, array[int]] = defaultdict(lambda: array("Q"))
        self._end = 0

    def add(self, key: Hashable, record: Any) -> None:
        """Adds one record of JSON's types, before the first is read; raises StorageRefused."""
        line = json.dumps(record).encode() + b"\n"
        with disk(self._path):
            self._file.write(line)
        self._places[key].append(self._end)
        self._end += len(line)

    def read(self, key: Hashable) -> Iterator[Any]:
        """Yields the records of a key."""
        for place in self._places.get(key, ()):
            with disk(self._path):
                self._file.seek(place)
                line = self._file.readline()
            yield json.loads(line)


@contextmanager
def open_spill(beside: Path) -> Iterator[Spill]:
    """Yields a Spill on the disk of the file `beside`, which messages name; nothing of it is left behind."""
    with disk(beside):
        folder = next(above for above in beside.absolute().parents if above.is_dir())
        file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115  (closed below)
    with file:
        yield Spill(beside, file)
