"""The folder of one run: its settings, its lock, and one folder per stage."""

from __future__ import annotations

import fcntl
import json
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from mathloop.errors import BadConfig, StorageRefused
from mathloop.files import disk, write_file
from pipelines.paths import check_text

RUNS = Path("runs")
"""Folder of all runs, relative to the current folder."""
LOCK_PATIENCE = 2.0
"""Seconds to wait for the lock: a killed run may take this long to end."""


class RunFolder:
    """`runs/<RUN>/`: run.json (settings), stages/<stage>/ (outputs, work, log.txt), report.html."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.id = self.path.name

    @classmethod
    def create(cls, settings: dict[str, Any], runs: Path = RUNS, name: str | None = None) -> RunFolder:
        """Creates a run with a new id such as 20261124-0012-ab12, or with `name`.

        Raises StorageRefused if the disk refuses; nothing is left behind.
        """
        name = name or f"{datetime.now():%Y%m%d-%H%M}-{secrets.token_hex(2)}"
        folder = cls(runs / name)
        try:
            with disk(folder.path):
                folder.stages.mkdir(parents=True, exist_ok=True)  # of an attempt that was killed here
            write_json(folder.path / "run.json", settings)
        except StorageRefused:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise
        return folder

    @classmethod
    def find(cls, name: str, runs: Path = RUNS) -> RunFolder:
        """Finds a run by its id or folder.

        Raises:
            BadConfig: there is no such run.
        """
        for path in (runs / name, Path(name)):
            if (path / "run.json").is_file():
                check_text(path.resolve())
                return cls(path)
        known = sorted(file.parent.name for file in runs.glob("*/run.json"))
        shown = f"the newest is {known[-1]}" if known else f"there are no runs in {runs}/"
        raise BadConfig(f"no run {name!r}; {shown}")

    @property
    def stages(self) -> Path:
        return self.path / "stages"

    @property
    def settings(self) -> dict[str, Any]:
        """The content of run.json; raises BadConfig if it is damaged."""
        path = self.path / "run.json"
        settings = read_json(path)
        if settings is None:
            raise BadConfig(f"{path}: damaged, expected settings as JSON; start a new run")
        return settings

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the run for this process; the kernel releases the lock when the process dies.

        Raises:
            BadConfig: another process holds the lock.
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
                            f"run {self.id} is in use by another process; wait for it or stop it"
                        ) from None
                    time.sleep(0.05)
            yield


def read_done(stage: Path) -> dict[str, Any] | None:
    """What a stage that has finished left in its folder's done.json; None if it has not, or it is damaged."""
    done = read_json(stage / "done.json")
    return done if done is not None and isinstance(done.get("outputs"), list) else None


def slug(name: str) -> str:
    """A stage's name as a folder name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


def write_json(path: Path, value: Any) -> None:
    """Writes JSON atomically; raises StorageRefused."""
    write_file(path, json.dumps(value, indent=1).encode("utf-8"), durable=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if the file is missing or contains something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
