"""Compiles a pipeline for a profile and uploads it to KFP as a new version if it differs."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import json_format

import mathloop
from mathloop.cluster.preflight import DRAWN
from mathloop.errors import BadConfig
from mathloop.settings import Settings
from mathloop.settings.settings import STAGE_SECTIONS
from pipelines.cluster.connection import Access, Pipelines, open_pipelines
from pipelines.cluster.problems import check_benchmarks, problems_url
from pipelines.cluster.runs import EXPERIMENT, description_end
from pipelines.compiling import arguments_of, comparable, compile_one, for_cluster
from pipelines.profile import changed_fields, load_profile
from pipelines.table import find_pipeline

PAGE = 100


@dataclass(frozen=True)
class Request:
    """The options of a run, or of all runs of a schedule."""

    pipeline: str
    profile: str
    sets: Sequence[str]
    seed: int | None
    serve: bool
    problems: str | None = None
    """A file of training problems in the store, or its S3 URL."""


@dataclass(frozen=True)
class Uploaded:
    """A pipeline version in KFP, and the experiment of its runs."""

    name: str
    pipeline_id: str
    version_id: str
    version: str
    """Profile, mathloop's version and a hash of the compiled pipeline: tiny-0.1.0-ba8c00d."""
    new: bool
    experiment_id: str


@dataclass(frozen=True)
class Prepared:
    """All that is needed to start or schedule runs."""

    pipelines: Pipelines
    uploaded: Uploaded
    store: str
    parameters: dict[str, Any]
    """Every parameter of the pipeline: KFP's pages of runs and clones only show parameters that were sent."""
    profile: str
    """The profile's name."""
    description: str
    """Of a run: pipeline, profile and what differs from it."""


def prepare(request: Request, access: Access, *, recurring: bool) -> Prepared:
    """Checks the options of a run, then makes sure that KFP has the pipeline.

    Args:
        recurring: whether the runs recur. Unless the seed is fixed, each then derives its own: with one seed,
            the run after one without a promotion would repeat it exactly.

    Raises:
        UserError: one line about a problem with the profile, the cluster or KFP.
    """
    component = find_pipeline(request.pipeline)
    settings, base = settings_of(request.profile, request.sets)
    parameters = parameters_of(request, component, settings, base, recurring=recurring)
    pipelines = open_pipelines(access)
    uploaded = _upload(pipelines, component, base)
    changed = [text for text in request.sets if not is_compiled_in(text)]
    description = f"{request.pipeline} with profile {base.name}" + "".join(f", {text}" for text in changed)
    return Prepared(pipelines, uploaded, for_cluster(settings).store, parameters, base.name, description)


def parameters_of(
    request: Request, pipeline: Any, settings: Settings, base: Settings, *, recurring: bool
) -> dict[str, Any]:
    """The value of every parameter of the pipeline.

    Raises:
        BadConfig: an option that this pipeline does not take, or problems that its pods cannot read.
    """
    taken = pipeline.pipeline_spec.root.input_definitions.parameters
    seed = request.seed
    if recurring and seed is None and "seed" in taken and "seed" not in settings.model_fields_set:
        seed = DRAWN
    store = for_cluster(settings).store
    problems = None if request.problems is None else problems_url(request.problems, store)
    check_benchmarks(settings, store)
    options = {"seed": seed, "serve": "yes" if request.serve else None, "problems": problems}
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in taken:
            raise BadConfig(f"pipeline {request.pipeline} takes no {name}; remove --{name}")
    defaults = {
        name: json_format.MessageToDict(parameter.default_value)
        for name, parameter in taken.items()
        if parameter.HasField("default_value")
    }
    values = {
        **defaults,
        "overrides": overrides_of(settings, base),
        **arguments_of(pipeline, settings),
        **given,
    }
    return {name: value for name, value in values.items() if name in taken}


def is_compiled_in(text: str) -> bool:
    """Whether a `--set` changes the compiled pipeline; all others are parameters of the run."""
    return text.strip().startswith(("pools.", "pools="))


def settings_of(profile: str, sets: Sequence[str]) -> tuple[Settings, Settings]:
    """The profile with all of `sets`, and with only those of pools, as its pipeline is compiled."""
    return load_profile(profile, sets), load_profile(profile, [text for text in sets if is_compiled_in(text)])


def overrides_of(settings: Settings, base: Settings) -> str:
    """The differences in the stages' sections, as JSON for the pipeline's parameter `overrides`."""
    changes: dict[str, Any] = {}
    for path, value, _ in changed_fields(settings, base):
        if path[0] in STAGE_SECTIONS:
            *sections, field = path
            inner = changes
            for name in sections:
                inner = inner.setdefault(name, {})
            inner[field] = value
    return json.dumps(changes, ensure_ascii=False)


def _upload(pipelines: Pipelines, pipeline: Any, profile: Settings) -> Uploaded:
    """Compiles the pipeline with the profile's pools and uploads it unless KFP has this version.

    Each profile has its own pipeline in KFP, so that a schedule uses the newest version for its profile.
    """
    name = f"{pipeline.name}-{profile.name}"
    with tempfile.TemporaryDirectory(prefix="mathloop-") as folder:
        path = Path(folder, f"{name}.yaml")
        compile_one(pipeline, path, profile)
        text = json.dumps(comparable(path), sort_keys=True)
        version = f"{profile.name}-{mathloop.__version__}-{hashlib.sha256(text.encode()).hexdigest()[:7]}"
        pipeline_id = _pipeline(pipelines, name, f"{pipeline.description}{description_end(profile.name)}")
        versions = _versions(pipelines, pipeline_id)
        new = version not in versions
        if new:
            with pipelines.answered("upload a pipeline") as client:
                uploaded = client.upload_pipeline_version(
                    str(path),
                    version,
                    pipeline_id=pipeline_id,
                    description=f"{profile.name}: {profile.description}".rstrip(": "),
                )
            versions[version] = uploaded.pipeline_version_id
    with pipelines.answered("create an experiment") as client:
        experiment = client.create_experiment(EXPERIMENT, "mathloop's rounds", namespace=pipelines.namespace)
    return Uploaded(name, pipeline_id, versions[version], version, new, experiment.experiment_id)


def _pipeline(pipelines: Pipelines, name: str, description: str) -> str:
    """The pipeline's id. A new one is created without a version, so that we can name every version."""
    import kfp_server_api

    predicate = {"operation": "EQUALS", "key": "display_name", "stringValue": name}
    with pipelines.answered("list pipelines") as client:
        page = client.list_pipelines(
            namespace=pipelines.namespace, filter=json.dumps({"predicates": [predicate]})
        )
    if page.pipelines:
        return str(page.pipelines[0].pipeline_id)
    with pipelines.answered("create a pipeline") as client:
        # kfp.Client cannot create a pipeline without a file; the API below it can.
        created = client._pipelines_api.pipeline_service_create_pipeline(
            kfp_server_api.V2beta1Pipeline(
                display_name=name, description=description, namespace=pipelines.namespace
            )
        )
    return str(created.pipeline_id)


def _versions(pipelines: Pipelines, pipeline_id: str) -> dict[str, str]:
    """Display name → id."""
    versions: dict[str, str] = {}
    token = ""
    while True:
        with pipelines.answered("list versions") as client:
            page = client.list_pipeline_versions(pipeline_id, page_token=token, page_size=PAGE)
        versions.update({one.display_name: one.pipeline_version_id for one in page.pipeline_versions or []})
        token = page.next_page_token or ""
        if not token:
            return versions
