"""The metrics of every training step: JSON lines in `metrics.jsonl` and, if configured, TensorBoard."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from mathloop.curves import Point
from mathloop.errors import BadConfig
from mathloop.files import disk


class MetricsLog:
    """Writes each step's values immediately; a resumed run first rewrites the steps up to its checkpoint."""

    def __init__(self, work: Path, tensorboard: bool) -> None:
        work.mkdir(parents=True, exist_ok=True)
        self._path = work / "metrics.jsonl"
        self._file = open(self._path, "w", encoding="utf-8", buffering=1)  # noqa: SIM115  (closed by close)
        self._board: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise BadConfig(
                    "engine.tensorboard needs a package that is not installed; pip install tensorboard, "
                    "or set it to false"
                ) from None
            # All steps are written again, so TensorBoard must ignore those of an earlier attempt.
            self._board = SummaryWriter(str(work / "tensorboard"), purge_step=0)

    def restore(self, curves: dict[str, list[Point]]) -> None:
        """Writes the steps that the checkpoint contains."""
        rows: defaultdict[float, dict[str, float]] = defaultdict(dict)
        for name, curve in curves.items():
            for step, value in curve:
                rows[step][name] = value
        for step in sorted(rows):
            self.write(int(step), rows[step])

    def write(self, step: int, values: dict[str, float]) -> None:
        """Writes one step; raises StorageRefused if the disk refuses."""
        with disk(self._path):
            self._file.write(json.dumps({"step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Closes the files."""
        with suppress(OSError):  # the disk was full: `write` has already raised
            self._file.close()
        if self._board is not None:
            self._board.close()
