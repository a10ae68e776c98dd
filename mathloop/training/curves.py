"""Curves of a training: for the report, one JSON line a step in `metrics.jsonl`, TensorBoard if asked."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import suppress
from pathlib import Path
from typing import Any

from mathloop.errors import BadConfig
from mathloop.files import disk

Curve = list[tuple[float, float]]
"""Points (step, value)."""


class MetricsLog:
    """Writes each step's values as they come; after a kill the file goes on where the checkpoint was."""

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
            # All steps are written again: what an earlier attempt wrote does not count.
            self._board = SummaryWriter(str(work / "tensorboard"), purge_step=0)

    def begin_with(self, curves: dict[str, Curve]) -> None:
        """Writes the steps that a checkpoint remembers."""
        rows: defaultdict[float, dict[str, float]] = defaultdict(dict)
        for name, curve in curves.items():
            for step, value in curve:
                rows[step][name] = value
        for step in sorted(rows):
            self.write(int(step), rows[step])

    def write(self, step: int, values: dict[str, float]) -> None:
        """One step. Raises StorageRefused where the disk does not take it."""
        with disk(self._path):
            self._file.write(json.dumps({"step": step, **values}) + "\n")
        if self._board is not None:
            for name, value in values.items():
                self._board.add_scalar(name, value, step)

    def close(self) -> None:
        """Ends the files."""
        with suppress(OSError):  # a line that found no space, of which `write` has spoken
            self._file.close()
        if self._board is not None:
            self._board.close()


def thin(curve: Curve, points: int = 200) -> Curve:
    """At most about `points` points, each the mean of its neighbors."""
    width = max(1, len(curve) // points)
    groups = [curve[i : i + width] for i in range(0, len(curve), width)]
    return [(group[-1][0], sum(value for _, value in group) / len(group)) for group in groups]
