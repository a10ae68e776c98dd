"""The folder of one run: its settings, its lock, and one folder a stage."""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from mathloop.errors import BadConfig, StorageRefused

RUNS = Path("runs")
"""Where runs are kept, under the folder that the command is called in."""
LOCK_PATIENCE = 2.0
"""Seconds to wait for the lock: the time that a killed run may still need to be gone."""


class RunFolder:
    """`runs/<RUN>/`: run.json (settings), stages/<stage>/ (outputs, work, log.txt), report.html."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self.id = path.name

    @classmethod
    def create(cls, settings: dict[str, Any], runs: Path = RUNS) -> RunFolder:
        """Makes a new run with a new id such as 20261124-0012-ab12."""
        name = f"{datetime.now():%Y%m%d-%H%M}-{secrets.token_hex(2)}"
        folder = cls(runs / name)
        try:
            folder.stages.mkdir(parents=True)
            write_json(folder.path / "run.json", settings)
        except OSError as error:
            raise StorageRefused(
                f"{folder.path}: cannot be written ({error.strerror}); free space or rights?"
            ) from None
        return folder

    @classmethod
    def find(cls, name: str, runs: Path = RUNS) -> RunFolder:
        """Opens a run by its id, or by its folder.

        Raises:
            BadConfig: there is no such run.
        """
        for path in (runs / name, Path(name)):
            if (path / "run.json").is_file():
                return cls(path)
        known = sorted(file.parent.name for file in runs.glob("*/run.json"))
        shown = f"the newest is {known[-1]}" if known else f"there is none in {runs}/"
        raise BadConfig(f"no run {name!r} to go on with; {shown}")

    @property
    def stages(self) -> Path:
        return self.path / "stages"

    @property
    def settings(self) -> dict[str, Any]:
        settings: dict[str, Any] = json.loads((self.path / "run.json").read_text(encoding="utf-8"))
        return settings

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Holds the run for this process alone; the kernel lets go of it when the process dies.

        Raises:
            BadConfig: another process is working on this run.
        """
        with open(self.path / "lock", "a", encoding="utf-8") as lock:
            deadline = time.monotonic() + LOCK_PATIENCE
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise BadConfig(
                            f"run {self.id} is being worked on by another process; wait for it or stop it"
                        ) from None
                    time.sleep(0.05)
            yield


def slug(name: str) -> str:
    """A stage's name as a folder's name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON, whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    with open(partial, "w", encoding="utf-8") as file:
        json.dump(value, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
