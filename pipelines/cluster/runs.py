"""Runs of mathloop in KFP: the newest ones, and one by its id, the beginning of it, or `latest`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from mathloop.errors import BadConfig
from pipelines.cluster.connection import Pipelines

EXPERIMENT = "mathloop"
SEARCHED = 100
"""Newest runs among which a run is searched by the beginning of its id."""
LATEST = "latest"
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def newest_runs(pipelines: Pipelines, limit: int = SEARCHED) -> list[Any]:
    """The newest runs of mathloop's experiment, the newest first."""
    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": EXPERIMENT}
    with pipelines.answered("list experiments") as client:
        answer = client.list_experiments(
            namespace=pipelines.namespace, filter=json.dumps({"predicates": [predicate]}), page_size=1
        )
    runs: list[Any] = []
    for experiment in answer.experiments or []:
        with pipelines.answered("list runs") as client:
            page = client.list_runs(
                page_size=limit, sort_by="created_at desc", experiment_id=experiment.experiment_id
            )
        runs += page.runs or []
    return runs


def find_run(pipelines: Pipelines, name: str) -> Any:
    """The run of this id or beginning of an id, or the newest one for `latest`.

    Raises:
        BadConfig: there is no such run, or several.
    """
    if RUN_ID.fullmatch(name):
        return read_run(pipelines, name)
    runs = newest_runs(pipelines)
    found = runs[:1] if name == LATEST else [run for run in runs if run.run_id.startswith(name)]
    if len(found) == 1:
        return found[0]
    if name == LATEST:
        raise BadConfig("there is no run yet; start one with: mathloop submit")
    if found:
        raise BadConfig(f"{len(found)} runs begin with {name!r}; give more of the id: {_ids(found)}")
    raise BadConfig(f"no run {name!r} among the newest {SEARCHED}; list them with: mathloop rounds")


def read_run(pipelines: Pipelines, run_id: str) -> Any:
    """The run of this id, as it is now; raises Absent."""
    absent = f"KFP at {pipelines.host} has no run {run_id}; list them with: mathloop rounds"
    with pipelines.answered("read a run", absent) as client:
        return client.get_run(run_id)


def in_progress(run: Any) -> bool:
    """Whether KFP shows the run as one that has not ended."""
    return run.state not in ENDED


def terminate(pipelines: Pipelines, run: Any) -> None:
    """Asks KFP to cancel the run: its pods get SIGTERM, and no further stage starts."""
    with pipelines.answered(f"cancel run {run.run_id}") as client:
        client.terminate_run(run.run_id)


def _ids(runs: Sequence[Any]) -> str:
    return ", ".join(run.run_id for run in runs[:3]) + (", …" if len(runs) > 3 else "")
