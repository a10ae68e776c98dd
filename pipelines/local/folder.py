"""The folder of one run: its settings, its lock, and one folder a stage."""

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
"""Where runs are kept, under the folder that the command is called in."""
LOCK_PATIENCE = 2.0
"""Seconds to wait for the lock: the time that a killed run may still need to be gone."""


class RunFolder:
    """`runs/<RUN>/`: run.json (settings), stages/<stage>/ (outputs, work, log.txt), report.html."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self.id = self.path.name

    @classmethod
    def create(cls, settings: dict[str, Any], runs: Path = RUNS) -> RunFolder:
        """Makes a new run with a new id such as 20261124-0012-ab12.

        Raises StorageRefused where the disk refuses; then nothing is left behind.
        """
        name = f"{datetime.now():%Y%m%d-%H%M}-{secrets.token_hex(2)}"
        folder = cls(runs / name)
        try:
            with disk(folder.path):
                folder.stages.mkdir(parents=True)
            write_json(folder.path / "run.json", settings)
        except StorageRefused:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise
        return folder

    @classmethod
    def find(cls, name: str, runs: Path = RUNS) -> RunFolder:
        """Opens a run by its id, or by its folder.

        Raises:
            BadConfig: there is no such run.
        """
        for path in (runs / name, Path(name)):
            if (path / "run.json").is_file():
                check_text(path.resolve())
                return cls(path)
        known = sorted(file.parent.name for file in runs.glob("*/run.json"))
        shown = f"the newest is {known[-1]}" if known else f"there is none in {runs}/"
        raise BadConfig(f"no run {name!r} to resume; {shown}")

    @property
    def stages(self) -> Path:
        return self.path / "stages"

    @property
    def settings(self) -> dict[str, Any]:
        """What run.json says; raises BadConfig where it is damaged."""
        path = self.path / "run.json"
        settings = read_json(path)
        if settings is None:
            raise BadConfig(f"{path}: damaged, expected settings as JSON; begin a new run")
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
    """Writes JSON, whole or not at all; raises StorageRefused."""
    write_file(path, json.dumps(value, indent=1).encode("utf-8"), durable=True)


def read_json(path: Path) -> dict[str, Any] | None:
    """The object that a file holds; None where there is none, or something else."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, IsADirectoryError, ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None
