"""Plain-text tables, progress on standard error, and a description of the machine."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

REFRESH = 0.1
"""Seconds between updates of the progress line on a terminal."""


def aligned(head: Sequence[str], rows: Iterable[Sequence[str]], left: Sequence[int] = (0,)) -> str:
    """A table as text, with a line below its head; columns in `left` are left-aligned, others right."""
    lines = [tuple(head), *map(tuple, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = []
    for line in lines:
        cells = zip(line, widths, strict=True)
        padded = (c.ljust(w) if n in left else c.rjust(w) for n, (c, w) in enumerate(cells))
        shown.append("  ".join(padded).rstrip())
    shown.insert(1, "─" * max(map(len, shown)))
    return "\n".join(shown)


def shortened(text: str, most: int, end: bool = False) -> str:
    """The text on one line of at most `most` characters: its start or, with `end`, its end."""
    line = " ".join(text.split())
    if len(line) <= most:
        return line
    return f"…{line[1 - most :]}" if end else f"{line[: most - 1]}…"


class Progress:
    """Progress on standard error: one changing line on a terminal, one line per step elsewhere."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._step = ""
        self._shown = 0.0

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            self._write("\r\x1b[2K")

    def step(self, text: str) -> None:
        """Starts a step."""
        self._step = text
        self._shown = time.monotonic()
        self._write(f"\r\x1b[2K{text}" if self._terminal else f"{text}\n")

    def detail(self, text: str) -> None:
        """Shows the progress of the step, only on a terminal and not on every call."""
        if self._terminal and time.monotonic() - self._shown >= REFRESH:
            self._shown = time.monotonic()
            self._write(f"\r\x1b[2K{self._step}: {text}")

    def _write(self, text: str) -> None:
        with suppress(OSError):
            sys.stderr.write(text)
            sys.stderr.flush()


def machine() -> str:
    """The processor, its load, and Python's version."""
    name = platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text("utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    load = f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    return f"{name} ({load}), Python {platform.python_version()}"
