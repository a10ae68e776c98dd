"""`mathloop submit --follow`: a run's stages as they change, their logs, and what came of each at the end."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mathloop.cluster.refusals import Unreachable
from pipelines.cluster.connection import Pipelines
from pipelines.cluster.logs import NoLog, own_lines, read_log
from pipelines.cluster.runs import in_progress, read_run
from pipelines.cluster.stages import Stage, read_stages
from pipelines.cluster.workflows import lost_runs
from pipelines.streams import visible

POLL_SECONDS = 5.0
"""KFP learns of a change within some 10 s."""
LOG_SHARE = 20
"""A log is read whole each time: so many times the seconds that it took pass before the next reading."""
PATIENCE_SECONDS = 600.0
"""How long KFP may not answer."""
LOST_SECONDS = 60.0
"""How long nothing changes before Kubernetes is asked whether the workflow is still there."""
OPEN = ("PENDING", "RUNNING")
"""States of a stage that has not ended."""


@dataclass
class Seen:
    """What was printed of a stage."""

    state: str = ""
    message: str = ""
    lines: int = 0
    """Of the log of `pod`."""
    pod: str | None = None
    next_read: float = 0.0
    last: str = ""
    """The log's last line."""


@dataclass
class Follower:
    """Follows one run until it ends."""

    pipelines: Pipelines
    run_id: str
    seen: dict[str, Seen] = field(default_factory=dict)
    changed: float = 0.0
    """When something was printed last, by the monotonic clock."""

    def follow(self) -> bool:
        """Prints until the run ends; returns whether it succeeded.

        Raises:
            UserError: KFP does not answer for some minutes, or refuses.
        """
        self.changed = answered = time.monotonic()
        state = ""
        while True:
            try:
                run = read_run(self.pipelines, self.run_id)
                stages = read_stages(self.pipelines, run)
                if in_progress(run) and str(run.state or "PENDING") != state:
                    state = str(run.state or "PENDING")
                    self._say(f"run {state}")
                for stage in stages:
                    self._show(stage, ended=not in_progress(run))
                answered = time.monotonic()
                if not in_progress(run):
                    self._summarize(run, stages)
                    return bool(run.state == "SUCCEEDED")
                if self._is_lost(run):
                    self._say("its workflow was deleted, so the run has ended; KFP does not know")
                    return False
            except Unreachable:
                if time.monotonic() - answered > PATIENCE_SECONDS:
                    raise
            time.sleep(POLL_SECONDS)

    def _say(self, text: str) -> None:
        print(f"{datetime.now():%H:%M:%S}  {text}", flush=True)
        self.changed = time.monotonic()

    def _show(self, stage: Stage, *, ended: bool) -> None:
        """Prints the stage's new state and new log lines; the last lines come before the last state."""
        seen = self.seen.setdefault(stage.path, Seen())
        over = ended or stage.state not in OPEN
        if over and seen.state in ("", *OPEN):
            self._show_log(stage, seen, whole=True)
        if (stage.state, stage.message) != (seen.state, seen.message):
            seen.state, seen.message = stage.state, stage.message
            self._say(_line(stage))
        if not over and stage.state == "RUNNING" and time.monotonic() >= seen.next_read:
            self._show_log(stage, seen, whole=False)

    def _show_log(self, stage: Stage, seen: Seen, *, whole: bool) -> None:
        if stage.pod != seen.pod:
            seen.pod, seen.lines = stage.pod, 0
        began = time.monotonic()
        try:
            text = read_log(self.pipelines, self.run_id, stage)
        except NoLog:
            return
        seen.next_read = time.monotonic() + LOG_SHARE * (time.monotonic() - began)
        # While the stage runs, the rest of its last line may be still to come.
        lines = list(own_lines(text if whole else text[: text.rfind("\n") + 1]))
        for line in lines[seen.lines :]:
            print(f"{stage.path} | {visible(line)}", flush=True)
            self.changed = time.monotonic()
        seen.lines = len(lines)
        seen.last = next((line for line in reversed(lines) if line.strip()), "")

    def _is_lost(self, run: Any) -> bool:
        if time.monotonic() - self.changed < LOST_SECONDS:
            return False
        return self.run_id in (lost_runs(self.pipelines, [run]) or ())

    def _summarize(self, run: Any, stages: list[Stage]) -> None:
        """Prints a line per stage: state, duration, and its log's last line, which says what came of it."""
        print()
        width = max((len(stage.path) for stage in stages), default=0)
        for stage in stages:
            last = self.seen[stage.path].last if stage.state != "CACHED" else "outputs of an earlier run"
            line = f"{stage.path:{width}}  {stage.state:9} {duration(stage.seconds):>8}  {visible(last)}"
            print(line.rstrip())
        seconds = (run.finished_at - run.created_at).total_seconds() if run.finished_at else 0.0
        print(
            f"\nrun {run.run_id} {run.state} after {duration(seconds)}: {self.pipelines.run_url(run.run_id)}"
        )


def _line(stage: Stage) -> str:
    spent = f" after {duration(stage.seconds)}" if stage.finished and stage.state != "CACHED" else ""
    return f"{stage.path} {stage.state}{spent}" + (f": {visible(stage.message)}" if stage.message else "")


def duration(seconds: float) -> str:
    """For example 8 s, 12 min 5 s, 3 h 7 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
