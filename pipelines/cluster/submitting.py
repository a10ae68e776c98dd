"""`mathloop submit`: one run, now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from pipelines.cluster.connection import FORWARD, connect
from pipelines.cluster.uploading import arguments, check_namespace, find_pipeline, upload
from pipelines.compiling import for_cluster
from pipelines.profile import load_profile


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
    """Uploads the pipeline if it changed, starts a run, and prints where it is.

    Raises:
        UserError: one line, whatever is wrong with the profile, the cluster or KFP.
    """
    component = find_pipeline(pipeline)
    settings, base = settings_of(profile, sets)
    given = arguments(settings, base, component, options(seed, serve))
    pipelines = connect(host)
    check_namespace(pipelines, namespace)
    uploaded = upload(pipelines, component, base, namespace)
    name = f"{uploaded.name} {datetime.now().astimezone():%Y-%m-%d %H:%M}"
    with pipelines.answered("start a run") as client:
        run = client.run_pipeline(
            uploaded.experiment_id,
            name,
            params=given,
            pipeline_id=uploaded.pipeline_id,
            version_id=uploaded.version_id,
        )
    print(f"pipeline {uploaded.name}, {'new ' if uploaded.new else ''}version {uploaded.version}")
    print(f"store {for_cluster(settings).store}")
    print(f"run {run.run_id}: {pipelines.run_url(run.run_id)}")
    if "//localhost:" in pipelines.ui and not host:
        print(f"(after: {FORWARD})")


def settings_of(profile: str, sets: Sequence[str]) -> tuple[Any, Any]:
    """The profile as it is meant, and as its pipeline is compiled: of what was set only the pools."""
    compiled_in = [text for text in sets if text.strip().startswith(("pools.", "pools="))]
    return load_profile(profile, sets), load_profile(profile, compiled_in)


def options(seed: int | None, serve: bool) -> dict[str, Any]:
    """Parameters that options of the command give, where they were given."""
    return {"seed": seed, "serving": True if serve else None}
