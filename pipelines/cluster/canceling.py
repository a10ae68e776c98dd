"""`mathloop cancel`: stops a run in progress."""

from __future__ import annotations

from mathloop.errors import BadConfig
from pipelines.cluster.connection import Access, open_pipelines
from pipelines.cluster.runs import find_run, in_progress, terminate
from pipelines.cluster.workflows import lost_runs


def cancel(name: str, access: Access) -> None:
    """Asks KFP to stop the run of this id, or beginning of one.

    Raises:
        BadConfig: there is no such run, or it has ended.
    """
    pipelines = open_pipelines(access)
    run = find_run(pipelines, name)
    if not in_progress(run):
        raise BadConfig(f"run {run.run_id} has already ended: {run.state}")
    if run.run_id in (lost_runs(pipelines, [run]) or ()):
        raise BadConfig(
            f"run {run.run_id} has no workflow any more, so it has ended; archive and delete it in KFP's UI"
        )
    terminate(pipelines, run)
    print(f"run {run.run_id} ({run.display_name}) is being canceled; its pods have half a minute to end")
