"""`mathloop submit`: starts one run now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from pipelines.cluster.connection import FORWARD
from pipelines.cluster.uploading import prepare


def submit(
    *,
    pipeline: str,
    profile: str,
    sets: Sequence[str],
    seed: int | None,
    serve: bool,
    host: str | None,
    namespace: str | None,
) -> None:
    """Uploads the pipeline if it changed, starts a run, and prints its URL.

    Raises:
        UserError: one line about a problem with the profile, the cluster or KFP.
    """
    prepared = prepare(
        pipeline=pipeline,
        profile=profile,
        sets=sets,
        seed=seed,
        serve=serve,
        host=host,
        namespace=namespace,
        recurring=False,
    )
    pipelines, uploaded = prepared.pipelines, prepared.uploaded
    name = f"{uploaded.name} {datetime.now().astimezone():%Y-%m-%d %H:%M}"
    with pipelines.answered("start a run") as client:
        run = client.run_pipeline(
            uploaded.experiment_id,
            name,
            params=prepared.parameters,
            pipeline_id=uploaded.pipeline_id,
            version_id=uploaded.version_id,
        )
    print(f"pipeline {uploaded.name}, {'new ' if uploaded.new else ''}version {uploaded.version}")
    print(f"store {prepared.store}")
    print(f"run {run.run_id}: {pipelines.run_url(run.run_id)}")
    if "//localhost:" in pipelines.ui and not host:
        print(f"(after: {FORWARD})")
