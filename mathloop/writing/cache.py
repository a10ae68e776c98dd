"""Texts that a model has written, by writer, prompt and parameters: nothing is asked for twice.

An SQLite file, to which each batch is committed at once: a process that is killed loses the batch at work.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from mathloop.errors import Corrupt, StorageRefused
from mathloop.files import disk
from mathloop.writing.writers import Text

_TABLE = (
    "CREATE TABLE IF NOT EXISTS texts (key BLOB PRIMARY KEY, text TEXT, finish_reason TEXT, tokens INTEGER)"
)
_AT_ONCE = 500
"""Keys per query: SQLite bounds the parameters of one."""


class Cache:
    """The file `texts.sqlite` in a folder, which is created."""

    def __init__(self, folder: Path) -> None:
        """Raises StorageRefused if the disk refuses, Corrupt if the file is something else."""
        self._path = folder / "texts.sqlite"
        with disk(folder):
            folder.mkdir(parents=True, exist_ok=True)
        with self._errors():
            self._file = sqlite3.connect(self._path, timeout=60)
            # No wait for the disk per text: a kill loses nothing, a power failure the last texts.
            self._file.execute("PRAGMA journal_mode=WAL")
            self._file.execute("PRAGMA synchronous=NORMAL")
            with self._file:
                self._file.execute(_TABLE)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def find(self, keys: Sequence[bytes]) -> dict[bytes, Text]:
        """Those of the keys that have a text."""
        found: dict[bytes, Text] = {}
        with self._errors():
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ", ".join("?" * len(some))
                rows = self._file.execute(f"SELECT * FROM texts WHERE key IN ({marks})", some)
                found |= {key: Text(text, finish, tokens) for key, text, finish, tokens in rows}
        return found

    def add(self, texts: Iterable[tuple[bytes, Text]]) -> None:
        """Keeps them, all or none. The first text of a key stays."""
        rows = [(key, one.text, one.finish_reason, one.tokens) for key, one in texts]
        with self._errors(), self._file:
            self._file.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?, ?, ?)", rows)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise StorageRefused(f"{self._path}: {error}; free some space, or choose another cache") from None
        except sqlite3.DatabaseError as error:
            raise Corrupt(f"{self._path}: {error}; remove the file: its texts are written again") from None


def key_of(writer: str, prompt: str, parameters: Mapping[str, Any], sample: int) -> bytes:
    """The key of sample number `sample` after a prompt; `writer` is the digest of the model."""
    whole = json.dumps([writer, prompt, parameters, sample], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(whole.encode()).digest()
