"""`mathloop rounds`: runs on a cluster, and what its store says of champions and rounds."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from mathloop.cluster.refusals import Unreachable
from mathloop.reports.records import Record
from mathloop.reports.rounds import notes, read_rounds, text
from mathloop.storage import open_store
from pipelines.cluster.connection import NAMESPACE, Access, Pipelines, open_pipelines
from pipelines.cluster.following import PATIENCE_SECONDS, POLL_SECONDS
from pipelines.cluster.runs import in_progress, newest_runs
from pipelines.cluster.scheduling import recurring_ids
from pipelines.cluster.workflows import RUN_LABEL, lost_runs

LOST, UNKNOWN = "LOST", "UNKNOWN"
"""States of runs that KFP shows in progress: without a workflow, and when Kubernetes cannot be asked."""


def rounds(*, limit: int, store: str, access: Access, watch: bool) -> None:
    """Prints the newest runs, then the store's champions and rounds as they are shown without a cluster.

    With `watch` it then prints, without end, each line that is new or has changed.
    """
    pipelines = open_pipelines(access)
    printed: set[str] = set()
    known: dict[str, Record] = {}
    answered = time.monotonic()
    while True:
        try:
            for line in _lines(pipelines, store, limit, known):
                if line not in printed:
                    print(line, flush=True)
                printed.add(line)
            answered = time.monotonic()
        except Unreachable:
            if not watch or time.monotonic() - answered > PATIENCE_SECONDS:
                raise
        if not watch:
            return
        time.sleep(POLL_SECONDS)


def _lines(pipelines: Pipelines, store: str, limit: int, known: dict[str, Record]) -> Iterator[str]:
    yield from run_lines(pipelines, limit)
    found = read_rounds(open_store(store), known)
    yield from (f"note: {note}" for note in notes(found))
    # A blank line goes with the one after it: what was printed before is not printed again.
    yield from re.split(r"(?<=[^\n])\n", f"\n{text(found)}")


def run_lines(pipelines: Pipelines, limit: int) -> Iterator[str]:
    """Yields a line per run, the newest first, and what the states LOST and UNKNOWN mean if there are any."""
    runs = newest_runs(pipelines, limit)
    states = _states(pipelines, runs)
    for run in runs:
        yield (f"{run.created_at:%Y-%m-%d %H:%M}  {states[run.run_id]:10} {run.display_name}  {run.run_id}")
    if not runs:
        yield "no runs; start one with: mathloop submit"
    if LOST in states.values():
        yield (
            f"{LOST}: KFP shows the run in progress, but its workflow was deleted, so it has ended; archive "
            "and delete it in KFP's UI"
        )
    if UNKNOWN in states.values():
        place = pipelines.namespace or NAMESPACE
        yield (
            f"{UNKNOWN}: the run's schedule was deleted, and only Kubernetes knows whether the run "
            f"continues: kubectl get workflows -n {place} -l {RUN_LABEL}=RUN"
        )


def _states(pipelines: Pipelines, runs: Sequence[Any]) -> dict[str, str]:
    """Run id → state."""
    states = {run.run_id: str(run.state or "PENDING") for run in runs}
    lost = lost_runs(pipelines, runs)
    if lost is not None:
        return states | dict.fromkeys(lost, LOST)
    recurring = [run for run in runs if in_progress(run) and run.recurring_run_id]
    if recurring:
        schedules = recurring_ids(pipelines)
        without = [run.run_id for run in recurring if run.recurring_run_id not in schedules]
        states |= dict.fromkeys(without, UNKNOWN)
    return states
