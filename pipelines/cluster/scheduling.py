"""`mathloop schedule`: recurring runs, one at a time, of the newest version, without catching up.

KFP has no update of a recurring run, so a change is a new one and the deletion of the old one. A recurring
run owns the workflows of its runs: only a deletion with ORPHAN leaves those in progress alone.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from mathloop.cluster.preflight import DRAWN
from mathloop.errors import BadConfig
from pipelines.cluster.connection import Access, Pipelines, open_pipelines
from pipelines.cluster.cron import six_fields
from pipelines.cluster.runs import EXPERIMENT, in_progress, newest_runs, pipeline_of, terminate
from pipelines.cluster.uploading import Request, prepare, settings_of
from pipelines.cluster.workflows import lost_runs
from pipelines.table import find_pipeline

PREFIX = "mathloop "
"""Prefix of our recurring runs' names."""
ORPHAN = "ORPHAN"
"""Kubernetes' policy of a deletion that leaves what the object owns alone."""


def schedule(request: Request, *, cron: str, cancel_running: bool, access: Access) -> None:
    """Makes sure that this pipeline and profile have exactly one recurring run, with this cron expression.

    It refers to no version: every run uses the newest one of its pipeline, with the parameters given here.
    Runs in progress continue, unless `cancel_running`.
    """
    timing = six_fields(cron)
    prepared = prepare(request, access, recurring=True)
    pipelines, uploaded, parameters = prepared.pipelines, prepared.uploaded, prepared.parameters
    name = PREFIX + uploaded.name
    same: list[Any] = []
    others: list[Any] = []
    for job in _jobs(pipelines):
        if job.display_name == name:
            (same if _fits(job, timing, parameters, uploaded.pipeline_id) else others).append(job)
    if not same:
        job = _recurring_run(uploaded.experiment_id, name, timing, parameters, uploaded.pipeline_id)
        with pipelines.answered("create a recurring run") as client:
            # kfp.Client 2.17 requires a version; the API runs the newest if there is none.
            client._recurring_run_api.recurring_run_service_create_recurring_run(job)
    # Create before deleting: a refusal or a kill in between leaves one too many, never none.
    _delete(pipelines, (*same[1:], *others))
    outcome = "unchanged" if same else "updated" if others else "created"
    seeds = ", each with its own seed" if parameters.get("seed") == DRAWN else ""
    print(f"schedule {uploaded.name!r} {outcome}: {timing} (seconds first), one run at a time{seeds}")
    if others or cancel_running:
        _settle_runs(pipelines, (*same, *others), cancel_running, bool(others))


def list_schedules(access: Access) -> None:
    """Prints one line per schedule of mathloop."""
    jobs = [job for job in _jobs(open_pipelines(access)) if job.display_name.startswith(PREFIX)]
    for job in jobs:
        print(f"{job.display_name.removeprefix(PREFIX)}  {_cron(job)}  {job.status or ''}".rstrip())
    if not jobs:
        print("no schedules; create one with: mathloop schedule --cron '0 2 * * *'")


def delete_schedule(
    *, pipeline: str, profile: str, sets: list[str], cancel_running: bool, access: Access
) -> None:
    """Deletes all recurring runs of this pipeline and profile; runs in progress continue by default."""
    name = f"{find_pipeline(pipeline).name}-{settings_of(profile, sets)[1].name}"
    pipelines = open_pipelines(access)
    jobs = [job for job in _jobs(pipelines) if job.display_name == PREFIX + name]
    if not jobs:
        raise BadConfig(f"no schedule {name!r}; list them with: mathloop schedule --list")
    _delete(pipelines, jobs)
    print(f"schedule {name!r} deleted: it starts no more runs")
    _settle_runs(pipelines, jobs, cancel_running, False)


def recurring_ids(pipelines: Pipelines) -> set[str]:
    """Ids of all recurring runs that exist."""
    return {str(job.recurring_run_id) for job in _jobs(pipelines)}


def _jobs(pipelines: Pipelines) -> list[Any]:
    jobs: list[Any] = []
    token = ""
    while True:
        with pipelines.answered("list recurring runs") as client:
            page = client.list_recurring_runs(page_token=token, page_size=100, namespace=pipelines.namespace)
        jobs += page.recurring_runs or []
        token = page.next_page_token or ""
        if not token:
            return jobs


def _delete(pipelines: Pipelines, jobs: Iterable[Any]) -> None:
    for job in jobs:
        with pipelines.answered("delete a recurring run") as client:
            # kfp.Client 2.17 passes no policy, and the server's default deletes the runs in progress.
            client._recurring_run_api.recurring_run_service_delete_recurring_run(
                job.recurring_run_id, propagation_policy=ORPHAN
            )


def _settle_runs(pipelines: Pipelines, jobs: Collection[Any], cancel: bool, replaced: bool) -> None:
    """Cancels these schedules' runs in progress, or says that they continue."""
    ids = {job.recurring_run_id for job in jobs}
    of_pipeline = {pipeline_of(job) for job in jobs} - {None}
    # A change before this one left runs to which no recurring run belongs any more.
    elsewhere = recurring_ids(pipelines) - ids
    runs = [
        run
        for run in newest_runs(pipelines)
        if in_progress(run)
        and run.recurring_run_id
        and run.recurring_run_id not in elsewhere
        and (run.recurring_run_id in ids or pipeline_of(run) in of_pipeline)
    ]
    lost = lost_runs(pipelines, runs) or ()
    for run in runs:
        if run.run_id in lost:
            continue
        if cancel:
            terminate(pipelines, run)
            print(f"run {run.run_id} is being canceled")
        else:
            beside = "; the new schedule does not wait for it" if replaced else ""
            print(f"run {run.run_id} continues{beside}; stop it with: mathloop cancel {run.run_id[:8]}")


def _cron(job: Any) -> str:
    return str(job.trigger.cron_schedule.cron) if job.trigger and job.trigger.cron_schedule else "?"


def _fits(job: Any, timing: str, wanted: dict[str, Any], pipeline_id: str) -> bool:
    parameters = (job.runtime_config.parameters if job.runtime_config else None) or {}
    return (
        _cron(job) == timing
        and parameters == wanted
        and pipeline_of(job) == pipeline_id
        and not job.pipeline_version_reference.pipeline_version_id
        and str(job.mode) == "ENABLE"
    )


def _recurring_run(
    experiment: str, name: str, timing: str, parameters: dict[str, Any], pipeline_id: str
) -> Any:
    import kfp_server_api as api

    return api.V2beta1RecurringRun(
        experiment_id=experiment,
        display_name=name,
        description=f"{EXPERIMENT}: recurring, one run at a time",
        mode=api.RecurringRunMode.ENABLE,
        max_concurrency="1",
        no_catchup=True,
        trigger=api.V2beta1Trigger(cron_schedule=api.V2beta1CronSchedule(cron=timing)),
        pipeline_version_reference=api.V2beta1PipelineVersionReference(pipeline_id=pipeline_id),
        runtime_config=api.V2beta1RuntimeConfig(parameters=parameters),
    )
