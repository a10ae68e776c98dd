"""Shows the stages of a run: a live table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mathloop.stages import duration, progress_words

REFRESH = 0.2
"""Seconds between updates of the live table."""
PLAIN = 15.0
"""Seconds between progress lines of one stage, without a terminal."""
MARKS = {"waiting": "·", "running": "▸", "done": "✓", "kept": "✓", "failed": "✗"}
COLORS = {
    "waiting": "dim",
    "running": "bold cyan",
    "done": "green",
    "kept": "dim green",
    "failed": "bold red",
}


@dataclass
class Row:
    """One stage."""

    state: str = "waiting"
    """waiting, running, done, kept (done by an earlier attempt) or failed."""
    seconds: float | None = None
    started: float = 0.0
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def elapsed(self) -> float | None:
        return time.monotonic() - self.started if self.state == "running" else self.seconds

    @property
    def detail(self) -> str:
        """Progress, speed, time left and the stage's values, as `progress_words`."""
        if self.state == "kept":
            return "from an earlier attempt"
        return progress_words(self.progress) if self.progress else ""


class View:
    """Shows the stages' state and progress. Use as a context manager around the run."""

    def __init__(self, title: str, stages: Sequence[str], console: Console) -> None:
        self.title, self.console = title, console
        self.rows = {stage: Row() for stage in stages}
        self.running = ""
        self.started = time.monotonic()
        self._drawn = 0.0
        self._live: Live | None = None
        if console.is_terminal:
            self._live = Live(
                console=console, auto_refresh=False, redirect_stdout=False, redirect_stderr=False
            )

    def __enter__(self) -> View:
        if self._live:
            self._live.start()
            self._draw()
        else:
            self._say(self.title)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._draw()
            self._live.stop()
        else:
            self._say(self.total)

    @property
    def total(self) -> str:
        """The time that this attempt took, and that of the stages that an earlier one had done."""
        kept = sum(row.seconds or 0.0 for row in self.rows.values() if row.state == "kept")
        earlier = f", and {duration(kept)} in earlier attempts" if kept else ""
        return f"total time {duration(time.monotonic() - self.started)}{earlier}"

    def start(self, stage: str) -> None:
        self.running = stage
        self.rows[stage] = Row("running", started=time.monotonic())
        self._drawn = time.monotonic()
        self._changed(stage)

    def tick(self, progress: dict[str, Any]) -> None:
        """Updates the running stage with its newest progress line; called often."""
        row = self.rows[self.running]
        row.progress = progress
        if time.monotonic() - self._drawn >= (REFRESH if self._live else PLAIN):
            self._changed(self.running)

    def finish(self, stage: str, seconds: float, replayed: bool = False) -> None:
        row = self.rows[stage]
        row.state, row.seconds = "kept" if replayed else "done", seconds
        self._changed(stage)

    def fail(self, stage: str, seconds: float) -> None:
        row = self.rows[stage]
        row.state, row.seconds = "failed", seconds
        self._changed(stage)

    def _changed(self, stage: str) -> None:
        self._drawn = time.monotonic()
        if self._live:
            self._draw()
            return
        row = self.rows[stage]
        number = list(self.rows).index(stage) + 1
        seconds = (
            f"{row.elapsed:8.1f} s" if row.elapsed is not None and row.detail + row.state != "running" else ""
        )
        self._say(f"[{number:2}/{len(self.rows)}] {stage:24} {row.state:8}{seconds}  {row.detail}".rstrip())

    def _say(self, line: str) -> None:
        self.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def _draw(self) -> None:
        assert self._live
        table = Table(title=self.title, title_justify="left", box=None, pad_edge=False)
        table.add_column("")
        table.add_column("stage", no_wrap=True)
        table.add_column("seconds", justify="right", no_wrap=True)
        table.add_column("", overflow="ellipsis", no_wrap=True)
        for name, row in self.rows.items():
            seconds = "" if row.elapsed is None else f"{row.elapsed:.1f}"
            cells = (MARKS[row.state], name, seconds, row.detail)
            table.add_row(*(Text(cell, style=COLORS[row.state]) for cell in cells))
        table.caption = self.total
        table.caption_justify = "left"
        self._live.update(table, refresh=True)
