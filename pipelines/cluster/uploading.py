"""A pipeline in KFP for a profile: compiled, and uploaded as a new version only where it differs."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mathloop.cluster.kubernetes import ClusterRefused
from mathloop.cluster.preflight import DRAWN
from mathloop.errors import BadConfig
from mathloop.settings import Settings
from mathloop.settings.settings import STAGE_SECTIONS
from pipelines.cluster.connection import Pipelines, connect
from pipelines.compiling import arguments_of, comparable, compile_one, for_cluster
from pipelines.profile import changed_fields, load_profile
from pipelines.table import find_pipeline

EXPERIMENT = "mathloop"
PAGE = 100


@dataclass(frozen=True)
class Uploaded:
    """A version of a pipeline, and the experiment that its runs are in."""

    name: str
    pipeline_id: str
    version_id: str
    version: str
    """`ir-` and the hash of what was compiled."""
    new: bool
    experiment_id: str


@dataclass(frozen=True)
class Prepared:
    """All that a run needs, or many of them."""

    pipelines: Pipelines
    uploaded: Uploaded
    store: str
    parameters: dict[str, Any]
    """Every parameter of the pipeline: a run's page and a clone's form show only those that were sent."""


def prepare(
    *,
    pipeline: str,
    profile: str,
    sets: Sequence[str],
    seed: int | None,
    serve: bool,
    host: str | None,
    namespace: str | None,
    often: bool,
) -> Prepared:
    """Checks everything that runs are asked for, then makes sure that KFP has their pipeline.

    Args:
        often: whether there will be many runs. Where nobody fixed a seed, each then draws its own: with the
            same one, the night after a champion stayed would be repeated number by number.

    Raises:
        UserError: one line, whatever is wrong with the profile, the cluster or KFP.
    """
    component = find_pipeline(pipeline)
    settings, base = settings_of(profile, sets)
    parameters = set(component.pipeline_spec.root.input_definitions.parameters)
    if often and seed is None and "seed" in parameters - settings.model_fields_set:
        seed = DRAWN
    wanted: dict[str, Any] = {"problems": "", "serve": "no", "overrides": overrides_of(settings, base)}
    wanted |= arguments_of(component, settings)
    for name, value in (("seed", seed), ("serve", "yes" if serve else None)):
        if value is not None and name not in parameters:
            raise BadConfig(f"pipeline {pipeline} takes no {name}; leave it out")
        if value is not None:
            wanted[name] = value
    sent = {name: value for name, value in wanted.items() if name in parameters}
    pipelines = connect(host)
    check_namespace(pipelines, namespace)
    uploaded = _upload(pipelines, component, base, namespace)
    return Prepared(pipelines, uploaded, for_cluster(settings).store, sent)


def settings_of(profile: str, sets: Sequence[str]) -> tuple[Settings, Settings]:
    """The profile as it is meant, and as its pipeline is compiled: of what was set only the pools."""
    compiled_in = [text for text in sets if text.strip().startswith(("pools.", "pools="))]
    return load_profile(profile, sets), load_profile(profile, compiled_in)


def overrides_of(settings: Settings, base: Settings) -> str:
    """What a run changes in its stages' sections, as the pipeline's parameter `overrides` takes it."""
    changes: dict[str, Any] = {}
    for path, value, _ in changed_fields(settings, base):
        if path[0] in STAGE_SECTIONS:
            *sections, field = path
            inner = changes
            for name in sections:
                inner = inner.setdefault(name, {})
            inner[field] = value
    return json.dumps(changes, ensure_ascii=False)


def _upload(pipelines: Pipelines, pipeline: Any, profile: Settings, namespace: str | None) -> Uploaded:
    """Compiles the pipeline with the profile's pools and makes sure that KFP has it.

    A profile has a pipeline of its own there, so that a schedule follows the newest version of its profile.
    """
    name = f"{pipeline.name}-{profile.name}"
    with tempfile.TemporaryDirectory(prefix="mathloop-") as folder:
        path = Path(folder, f"{name}.yaml")
        compile_one(pipeline, path, profile)
        text = json.dumps(comparable(path), sort_keys=True)
        version = f"ir-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        pipeline_id = _pipeline(pipelines, name, namespace)
        found = _versions(pipelines, pipeline_id)
        new = version not in found
        if new:
            with pipelines.answered("upload a pipeline") as client:
                made = client.upload_pipeline_version(str(path), version, pipeline_id=pipeline_id)
            found[version] = made.pipeline_version_id
    with pipelines.answered("make an experiment") as client:
        experiment = client.create_experiment(EXPERIMENT, "mathloop's rounds", namespace=namespace)
    return Uploaded(name, pipeline_id, found[version], version, new, experiment.experiment_id)


def _pipeline(pipelines: Pipelines, name: str, namespace: str | None) -> str:
    """The id of the pipeline; it is made without a version, so that every version is named by its content."""
    import kfp_server_api

    wanted = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    with pipelines.answered("list pipelines") as client:
        found = client.list_pipelines(namespace=namespace, filter=json.dumps({"predicates": [wanted]}))
    if found.pipelines:
        return str(found.pipelines[0].pipeline_id)
    with pipelines.answered("make a pipeline") as client:
        # kfp.Client makes no pipeline without a file; the API that it is made of does.
        made = client._pipelines_api.pipeline_service_create_pipeline(
            kfp_server_api.V2beta1Pipeline(display_name=name, namespace=namespace)
        )
    return str(made.pipeline_id)


def _versions(pipelines: Pipelines, pipeline_id: str) -> dict[str, str]:
    """Display name → id."""
    found: dict[str, str] = {}
    token = ""
    while True:
        with pipelines.answered("list versions") as client:
            page = client.list_pipeline_versions(pipeline_id, page_token=token, page_size=PAGE)
        found.update({one.display_name: one.pipeline_version_id for one in page.pipeline_versions or []})
        token = page.next_page_token or ""
        if not token:
            return found


def check_namespace(pipelines: Pipelines, namespace: str | None) -> None:
    """Raises ClusterRefused where a multi-user Kubeflow is asked without a profile's namespace."""
    if pipelines.multi_user and not namespace:
        raise ClusterRefused(
            f"KFP at {pipelines.host} is multi-user: give your profile's namespace by --namespace"
        )
