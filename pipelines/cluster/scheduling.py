"""`mathloop schedule`: recurring runs, one at a time, of the newest version, without catching up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from mathloop.cluster.preflight import DRAWN
from mathloop.errors import BadConfig
from pipelines.cluster.connection import Pipelines, connect
from pipelines.cluster.uploading import EXPERIMENT, check_namespace, prepare, settings_of
from pipelines.table import find_pipeline

FIELD = re.compile(r"[0-9A-Za-z*/,?#-]+")
PREFIX = "mathloop "
"""Prefix of our recurring runs' names."""


def schedule(
    *,
    cron: str,
    pipeline: str,
    profile: str,
    sets: Sequence[str],
    seed: int | None,
    serve: bool,
    host: str | None,
    namespace: str | None,
) -> None:
    """Makes sure that this pipeline and profile have exactly one recurring run, with this cron expression.

    It refers to no version: every run uses the newest one of its pipeline, with the parameters given here.
    """
    timing = six_fields(cron)
    prepared = prepare(
        pipeline=pipeline,
        profile=profile,
        sets=sets,
        seed=seed,
        serve=serve,
        host=host,
        namespace=namespace,
        recurring=True,
    )
    pipelines, uploaded, parameters = prepared.pipelines, prepared.uploaded, prepared.parameters
    name = PREFIX + uploaded.name
    same: list[Any] = []
    others: list[Any] = []
    for job in _jobs(pipelines, namespace):
        if job.display_name == name:
            (same if _fits(job, timing, parameters, uploaded.pipeline_id) else others).append(job)
    if not same:
        _create(pipelines, uploaded.experiment_id, name, timing, parameters, uploaded.pipeline_id)
    # Create before deleting: a kill in between leaves one too many, never none.
    for job in (*same[1:], *others):
        with pipelines.answered("delete a recurring run") as client:
            client.delete_recurring_run(job.recurring_run_id)
    outcome = "unchanged" if same else "updated" if others else "created"
    seeds = ", each with its own seed" if parameters.get("seed") == DRAWN else ""
    print(f"schedule {uploaded.name!r} {outcome}: {timing} (seconds first), one run at a time{seeds}")


RANGES = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 6),
)


def six_fields(cron: str) -> str:
    """KFP's cron expression: seconds before the usual five fields; raises BadConfig."""
    fields = cron.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6 or not all(FIELD.fullmatch(field) for field in fields):
        raise BadConfig(f'--cron {cron!r}: expected five or six fields, such as "0 2 * * *" for 2 a.m. UTC')
    for field, (what, low, high) in zip(fields, RANGES, strict=True):
        ends = [
            [int(end) for end in part.partition("/")[0].split("-") if end.isdigit()]
            for part in field.split(",")
        ]
        steps = [part.partition("/")[2] for part in field.split(",")]
        inside = all(low <= end <= high for span in ends for end in span)
        if not inside or any(span != sorted(span) for span in ends) or "0" in steps:
            raise BadConfig(
                f"--cron {cron!r}: {field} is no {what}: expected {low} to {high}, ranges in rising order"
            )
    return " ".join(fields)


def list_schedules(*, host: str | None, namespace: str | None) -> None:
    """Prints one line per schedule of mathloop."""
    pipelines = connect(host)
    check_namespace(pipelines, namespace)
    jobs = [job for job in _jobs(pipelines, namespace) if job.display_name.startswith(PREFIX)]
    for job in jobs:
        print(f"{job.display_name.removeprefix(PREFIX)}  {_cron(job)}  {job.status or ''}".rstrip())
    if not jobs:
        print("no schedules; create one with: mathloop schedule --cron '0 2 * * *'")


def delete_schedule(
    *, pipeline: str, profile: str, sets: Sequence[str], host: str | None, namespace: str | None
) -> None:
    """Deletes all recurring runs of this pipeline and profile."""
    name = f"{find_pipeline(pipeline).name}-{settings_of(profile, sets)[1].name}"
    pipelines = connect(host)
    check_namespace(pipelines, namespace)
    jobs = [job for job in _jobs(pipelines, namespace) if job.display_name == PREFIX + name]
    if not jobs:
        raise BadConfig(f"no schedule {name!r}; list them with: mathloop schedule --list")
    for job in jobs:
        with pipelines.answered("delete a recurring run") as client:
            client.delete_recurring_run(job.recurring_run_id)
    print(f"schedule {name!r} deleted; running runs continue")


def _jobs(pipelines: Pipelines, namespace: str | None) -> list[Any]:
    jobs: list[Any] = []
    token = ""
    while True:
        with pipelines.answered("list recurring runs") as client:
            page = client.list_recurring_runs(page_token=token, page_size=100, namespace=namespace)
        jobs += page.recurring_runs or []
        token = page.next_page_token or ""
        if not token:
            return jobs


def _cron(job: Any) -> str:
    return str(job.trigger.cron_schedule.cron) if job.trigger and job.trigger.cron_schedule else "?"


def _fits(job: Any, timing: str, wanted: dict[str, Any], pipeline_id: str) -> bool:
    reference = job.pipeline_version_reference
    parameters = (job.runtime_config.parameters if job.runtime_config else None) or {}
    return (
        _cron(job) == timing
        and parameters == wanted
        and reference is not None
        and reference.pipeline_id == pipeline_id
        and not reference.pipeline_version_id
        and str(job.mode) == "ENABLE"
    )


def _create(
    pipelines: Pipelines,
    experiment: str,
    name: str,
    timing: str,
    parameters: dict[str, Any],
    pipeline_id: str,
) -> None:
    import kfp_server_api as api

    job = api.V2beta1RecurringRun(
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
    with pipelines.answered("create a recurring run") as client:
        # kfp.Client 2.17 requires a version; the API runs the newest if there is none.
        client._recurring_run_api.recurring_run_service_create_recurring_run(job)
