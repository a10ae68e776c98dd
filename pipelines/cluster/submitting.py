"""`mathloop submit`: starts one run now."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pipelines.cluster.connection import FORWARD, FORWARDED, Access, Pipelines
from pipelines.cluster.uploading import Prepared, Request, prepare


def submit(request: Request, access: Access) -> tuple[Pipelines, str]:
    """Uploads the pipeline if it changed, starts a run, and prints its URL; returns KFP and the run's id.

    Raises:
        UserError: one line about a problem with the profile, the cluster or KFP.
    """
    prepared = prepare(request, access, recurring=False)
    pipelines, uploaded = prepared.pipelines, prepared.uploaded
    run = _run(prepared, run_name(request.pipeline, prepared.profile, datetime.now().astimezone()))
    with pipelines.answered("start a run") as client:
        # kfp.Client 2.17 cannot give a run a description.
        started = client._run_api.run_service_create_run(run)
    print(f"pipeline {uploaded.name}, {'new ' if uploaded.new else ''}version {uploaded.version}")
    print(f"store {prepared.store}")
    print(f"run {started.run_id}: {pipelines.run_url(started.run_id)}")
    if pipelines.ui == FORWARDED and not access.host:
        print(f"(after: {FORWARD})")
    return pipelines, str(started.run_id)


def run_name(pipeline: str, profile: str, now: datetime) -> str:
    """Time, profile, and the pipeline unless it is a round: KFP's lists cut long names at the end."""
    kind = "" if pipeline == "improvement-round" else f" {pipeline}"
    return f"{now:%Y-%m-%d %H:%M} {profile}{kind}"


def _run(prepared: Prepared, name: str) -> Any:
    import kfp_server_api as api

    uploaded = prepared.uploaded
    return api.V2beta1Run(
        experiment_id=uploaded.experiment_id,
        display_name=name,
        description=prepared.description,
        pipeline_version_reference=api.V2beta1PipelineVersionReference(
            pipeline_id=uploaded.pipeline_id, pipeline_version_id=uploaded.version_id
        ),
        runtime_config=api.V2beta1RuntimeConfig(parameters=prepared.parameters),
    )
