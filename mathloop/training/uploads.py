"""Checkpoints of a training in a store: uploaded in the background, listed, fetched, removed at the end."""

from __future__ import annotations

import hashlib
import re
import shutil
import sys
import threading
import time
from pathlib import Path

from mathloop.errors import MathloopError
from mathloop.storage import Store

NAME = re.compile(r"step-(\d{8,})")
"""A checkpoint's folder; in a store a hash of its contents is appended to the name."""
CONTENTS = "contents.json"
"""The file of a checkpoint with the checksums of the others."""


class Uploads:
    """Uploads the newest checkpoint to a store, in a thread; retries if the store is down."""

    def __init__(self, store: Store, prefix: str, keep: int, pause: float = 1.0) -> None:
        self._store, self._prefix, self._keep, self._pause = store, prefix, keep, pause
        self._next: Path | None = None
        self._sending: Path | None = None
        self._fetched: set[str] = set()
        self._changed = threading.Condition()
        self._closing = False
        self._deadline = 0.0
        self._thread: threading.Thread | None = None
        self._complained = False

    def add(self, folder: Path) -> None:
        """Queues a checkpoint; it replaces one that is still waiting."""
        with self._changed:
            self._next = folder
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="checkpoints", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def holds(self, folder: Path) -> bool:
        """Whether this folder is being uploaded or waits for it."""
        with self._changed:
            return folder in (self._next, self._sending)

    def newest(self) -> tuple[int, str] | None:
        """(step, name) of the newest checkpoint in the store that was not fetched yet, if any."""
        names = [name for name in self._stored() if name not in self._fetched]
        return (_step_of(names[-1]), names[-1]) if names else None

    def fetch(self, name: str, folder: Path) -> None:
        """Downloads a checkpoint; `newest` will not return it again. Raises Corrupt or StorageRefused."""
        self._fetched.add(name)
        shutil.rmtree(folder, ignore_errors=True)
        self._store.fetch(name, folder)

    def close(self, seconds: float) -> None:
        """Stops when everything is uploaded, or after `seconds`."""
        with self._changed:
            self._closing, self._deadline = True, time.monotonic() + seconds
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(seconds + 0.1)

    def remove_all(self) -> None:
        """Removes this training's checkpoints from the store, if it answers."""
        with self._changed:
            self._next = None
        if self._thread is not None:
            self._thread.join(30.0)
        try:
            for name in self._stored():
                self._store.remove(name)
        except MathloopError as error:
            print(
                f"Checkpoints could not be removed from the store ({error}); remove them by hand.",
                file=sys.stderr,
                flush=True,
            )

    def _work(self) -> None:
        while True:
            with self._changed:
                while self._next is None and not self._closing:
                    self._changed.wait()
                if self._next is None:
                    return
                folder, self._next = self._next, None
                self._sending = folder
            sent = self._send(folder)
            with self._changed:
                self._sending = None
                if not sent:
                    self._next = self._next or folder
                    if self._closing and time.monotonic() >= self._deadline:
                        return
                    self._changed.wait(self._pause)

    def _send(self, folder: Path) -> bool:
        try:
            # On a GPU a repeated step need not have the same bytes: the name includes a hash of them.
            content = hashlib.sha256((folder / CONTENTS).read_bytes()).hexdigest()[:12]
            self._store.publish(folder, f"{self._prefix}/{folder.name}-{content}")
            for name in self._stored()[: -self._keep]:
                self._store.remove(name)
        except (MathloopError, OSError) as error:
            if not self._complained:
                print(f"A checkpoint is not in the store yet: {error}", file=sys.stderr, flush=True)
            self._complained = True
            return False
        self._complained = False
        return True

    def _stored(self) -> list[str]:
        names = [name for name in self._store.names(f"{self._prefix}/") if NAME.search(name)]
        return sorted(names, key=_step_of)


def _step_of(name: str) -> int:
    match = NAME.search(name)
    return int(match[1]) if match else -1
