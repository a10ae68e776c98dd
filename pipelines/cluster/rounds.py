"""`mathloop rounds`: runs on a cluster, and all champions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mathloop.registry import Champion, Registry
from mathloop.storage import open_store
from pipelines.cluster.connection import NAMESPACE, Access, Pipelines, open_pipelines
from pipelines.cluster.runs import in_progress, newest_runs
from pipelines.cluster.scheduling import recurring_ids
from pipelines.cluster.workflows import RUN_LABEL, lost_runs

METRICS = 4
"""Metrics to print per champion."""
LOST, UNKNOWN = "LOST", "UNKNOWN"
"""States of runs that KFP shows in progress: without a workflow, and when Kubernetes cannot be asked."""


def rounds(*, limit: int, store: str, access: Access) -> None:
    """Prints the newest runs, then every champion of the store with its gate's scores."""
    pipelines = open_pipelines(access)
    print("\n".join(run_lines(pipelines, limit)))
    registry = Registry(open_store(store))
    print(f"\nchampions of {store}:")
    for champion in registry.history():
        entry = f"{champion.number:3}  {champion.created[:16]}  {champion.round_id}"
        print(f"{entry}  {_metrics(champion)}".rstrip())


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


def _metrics(champion: Champion) -> str:
    shown = list(champion.metrics.items())[:METRICS]
    return ", ".join(f"{name} {value:.3g}" for name, value in shown)
