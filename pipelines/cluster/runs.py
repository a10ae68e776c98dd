"""Runs of mathloop in KFP: the newest ones, and one by its id, the beginning of it, or `latest`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from mathloop.errors import BadConfig
from pipelines.cluster.connection import Pipelines
from pipelines.table import PIPELINES

EXPERIMENT = "mathloop"
FORM_EXPERIMENT = "Default"
"""Experiment of the runs that are started by the form in KFP's UI, unless another one is chosen there."""
SEARCHED = 100
"""Newest runs among which a run is searched by the beginning of its id."""
LATEST = "latest"
ENDED = ("SUCCEEDED", "FAILED", "CANCELED", "SKIPPED")
RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def newest_runs(pipelines: Pipelines, limit: int = SEARCHED) -> list[Any]:
    """The newest runs of mathloop, the newest first: of its commands, and of the form in KFP's UI."""
    runs: list[Any] = []
    for name in (EXPERIMENT, FORM_EXPERIMENT):
        with pipelines.answered("list experiments") as client:
            answer = client.list_experiments(namespace=pipelines.namespace, filter=_named(name), page_size=1)
        for experiment in answer.experiments or []:
            with pipelines.answered("list runs") as client:
                page = client.list_runs(
                    page_size=limit, sort_by="created_at desc", experiment_id=experiment.experiment_id
                )
            found = [run for run in page.runs or [] if run.storage_state != "ARCHIVED"]
            ours = _pipeline_ids(pipelines) if found and name == FORM_EXPERIMENT else set()
            runs += [run for run in found if name == EXPERIMENT or pipeline_of(run) in ours]
    return sorted(runs, key=lambda run: run.created_at, reverse=True)[:limit]


def _named(name: str) -> str:
    return json.dumps({"predicates": [{"operation": "EQUALS", "key": "display_name", "stringValue": name}]})


def _pipeline_ids(pipelines: Pipelines) -> set[str]:
    """Ids of the pipelines that mathloop uploaded: their descriptions end with the profile of their names."""
    ids: set[str] = set()
    token = ""
    while True:
        with pipelines.answered("list pipelines") as client:
            page = client.list_pipelines(page_token=token, page_size=100, namespace=pipelines.namespace)
        for pipeline in page.pipelines or []:
            for name in PIPELINES:
                profile = str(pipeline.display_name).removeprefix(f"{name}-")
                if str(pipeline.description or "").endswith(description_end(profile)):
                    ids.add(str(pipeline.pipeline_id))
        token = page.next_page_token or ""
        if not token:
            return ids


def description_end(profile: str) -> str:
    """How the description of a pipeline that is compiled for this profile ends."""
    return f" Profile {profile}."


def pipeline_of(run: Any) -> str | None:
    """Id of the pipeline of a run, or of a recurring run."""
    reference = run.pipeline_version_reference
    return str(reference.pipeline_id) if reference is not None and reference.pipeline_id else None


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
