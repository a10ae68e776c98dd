"""Stage reports and progress.

A stage's `run(...)` returns a `StageReport`. Its component writes the report into the stage's summary, and
the round's HTML report is built from these summaries. `Progress` shows a counter on a terminal, prints JSON
lines in a pod, and appends the same lines to the file named by `MATHLOOP_PROGRESS`, for the live view.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from mathloop.files import write_file

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result", "StageReport", "tuple[StageReport, Any]")

OUTPUTS = ("out", "dropped", "work")
"""Arguments that a stage's `run` writes to."""
PROGRESS_VARIABLE = "MATHLOOP_PROGRESS"
READABLE = 15.0
"""Seconds between two lines of progress for people, without a terminal."""


def split_arguments(arguments: Mapping[str, Any]) -> tuple[dict[str, Path], dict[str, Any]]:
    """A stage's arguments: those that are files or folders to read, and its settings.

    `models.sft` is an entry of the argument `models`. Outputs are neither, nor are functions.
    """
    inputs: dict[str, Path] = {}
    settings: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in OUTPUTS or callable(value):
            continue
        if isinstance(value, Path):
            inputs[name] = value
        elif isinstance(value, Mapping) and all(isinstance(one, Path) for one in value.values()):
            inputs |= {f"{name}.{entry}": path for entry, path in value.items()}
        else:
            settings[name] = value
    return inputs, settings


@dataclass
class StageReport:
    """Counts, values and examples of one run of a stage; all values can be written as JSON."""

    stage: str
    """The stage's name: its section of the settings."""
    seconds: float = 0.0
    """Set by `timed`, as is `started`."""
    inputs: int = 0
    """Records that went in."""
    generated: int = 0
    """Records that the stage itself generated (responses sampled, problems written)."""
    kept: int = 0
    """Records that came out."""
    dropped: dict[str, int] = field(default_factory=dict)
    """Reason → number of records; reasons with none are left out."""
    values: dict[str, float] = field(default_factory=dict)
    """Scalars for a table: accuracies, tokens, tokens per second, losses."""
    scores: dict[str, float] = field(default_factory=dict)
    """Scores in percent under a few fixed names, for comparing runs; only evaluation and gate set them."""
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    """Name → points (step, value)."""
    samples: list[dict[str, Any]] = field(default_factory=list)
    """A few example records: problem, response, verdict, reward, why kept or dropped."""
    notes: list[str] = field(default_factory=list)
    """Sentences for the reader, such as what was skipped and why."""
    started: float = 0.0
    """Seconds since 1970; 0 if it was not measured."""

    def __post_init__(self) -> None:
        self.dropped = {reason: count for reason, count in self.dropped.items() if count}

    def write(self, path: Path) -> None:
        """Writes the report as JSON, atomically."""
        write_file(path, json.dumps(asdict(self), ensure_ascii=False, allow_nan=False).encode("utf-8"))

    def sentence(self) -> str:
        """The last line of the log: `cot: 1,400 in, 5,600 generated, 2,010 kept, 3,590 dropped (61.0 s)`."""
        counts = {"in": self.inputs, "generated": self.generated, "kept": self.kept}
        counts["dropped"] = sum(self.dropped.values())
        parts = [f"{count:,} {name}" for name, count in counts.items() if count]
        return f"{self.stage}: {', '.join(parts) or (self.notes or ['done'])[0]} ({self.seconds:.1f} s)"

    @classmethod
    def read(cls, path: Path) -> StageReport:
        """Reads a file written by `write`."""
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def timed(run: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Makes a stage's `run` record its start and its duration in its report."""

    @wraps(run)
    def timing(*arguments: Arguments.args, **named: Arguments.kwargs) -> Result:
        began, started = time.time(), time.monotonic()
        result = run(*arguments, **named)
        report = result[0] if isinstance(result, tuple) else result
        report.seconds, report.started = time.monotonic() - started, began
        return result

    return timing


class Progress:
    """Progress of a stage. `update` is cheap: it writes at most every `interval` seconds, and at the end."""

    readable = False
    """Standard error gets words in place of JSON lines, at most every `READABLE` seconds; commands set it."""

    def __init__(self, stage: str, total: int | None, unit: str, interval: float = 0.5) -> None:
        self.stage, self.total, self.unit, self.interval = stage, total, unit, interval
        self.done = 0
        self.tokens = 0
        self.started = self._written = self._told = time.monotonic()
        self._at_start: int | None = None
        self._file = os.environ.get(PROGRESS_VARIABLE)
        self._write({})

    def update(self, done: int = 1, tokens: int = 0, **values: float) -> None:
        """Adds `done` units and `tokens` tokens; `values` (loss, reward) are shown unchanged."""
        self.done += done
        self.tokens += tokens
        now = time.monotonic()
        if self._at_start is None:  # what an earlier attempt had done says nothing of the speed
            self._at_start = self.done if now - self.started < 0.1 else 0
        if now - self._written >= self.interval or self.done == self.total:
            self._written = now
            self._write(values)

    @property
    def speed(self) -> dict[str, float]:
        """Tokens, and tokens per second, for a report's values."""
        seconds = max(time.monotonic() - self.started, 1e-9)
        return {"tokens": float(self.tokens), "tokens_per_second": self.tokens / seconds}

    def _write(self, values: dict[str, float]) -> None:
        seconds = time.monotonic() - self.started
        row: dict[str, Any] = {"stage": self.stage, "done": self.done, "total": self.total, "unit": self.unit}
        row["seconds"] = round(seconds, 2)
        fresh = self.done - (self._at_start or 0)
        if self.total and fresh > 0 and self.done < self.total:
            row["seconds_left"] = round(seconds * (self.total - self.done) / fresh, 1)
        if self.tokens:
            row["tokens_per_second"] = round(self.tokens / max(seconds, 1e-9))
        row.update({name: round(float(value), 5) for name, value in values.items()})
        if self._file:
            with open(self._file, "a", encoding="utf-8") as file:
                file.write(json.dumps(row, allow_nan=True) + "\n")
        if sys.stderr.isatty():
            end = "\n" if self.done == self.total else ""
            print(f"\r{self.stage}: {progress_words(row)}\x1b[K", end=end, file=sys.stderr, flush=True)
        elif self.readable:
            if self.done == self.total or time.monotonic() - self._told >= READABLE:
                self._told = time.monotonic()
                print(f"{self.stage}: {progress_words(row)}", file=sys.stderr, flush=True)
        elif not self._file:
            print(json.dumps(row, allow_nan=True), file=sys.stderr, flush=True)


def progress_words(row: Mapping[str, Any]) -> str:
    """A row of `Progress` for people: `12/40 steps · 9,120 tokens/s · about 3 min left · loss 1.2`."""
    shown = {name: value for name, value in row.items() if name not in ("stage", "seconds")}
    done, total, unit = shown.pop("done"), shown.pop("total"), shown.pop("unit")
    speed, left = shown.pop("tokens_per_second", None), shown.pop("seconds_left", None)
    parts = [f"{done:,}/{total:,} {unit}" if total else f"{done:,} {unit}"]
    parts += [f"{speed:,} tokens/s"] if speed else []
    parts += [f"about {duration(left)} left"] if left else []
    return " · ".join([*parts, *(f"{name} {value:.4g}" for name, value in shown.items())])


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 20 s, 2 h 5 min."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)  # first, or 179.6 would be 2 min 60 s
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
