"""Runs pipelines one after another in a run's folder, under one live view."""

from __future__ import annotations

import contextlib
import logging
import signal
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from kfp import local
from kfp.dsl.graph_component import GraphComponent
from rich.console import Console

from pipelines.local.folder import RunFolder, slug
from pipelines.local.launcher import Launcher
from pipelines.local.tasks import adapted, in_order
from pipelines.local.view import View


@dataclass(frozen=True)
class Job:
    """One pipeline to run."""

    pipeline: GraphComponent
    arguments: Mapping[str, Any]
    id: str
    """The pipeline run's id, as a cluster would assign it; the same on every attempt."""


def run_pipelines(jobs: Sequence[Job], run: RunFolder, launcher: Launcher, console: Console) -> None:
    """Runs `jobs`; stages that an earlier attempt completed are not repeated.

    Raises:
        StageFailed: a stage failed; completed stages are kept.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP, after the running stage was stopped.
    """
    names = [stage_names(job.pipeline) for job in jobs]
    view = View(f"run {run.id}", [stage for of_job in names for stage in of_job.values()], console)
    with run.locked(), interruptible(), view:
        for job, of_job in zip(jobs, names, strict=True):
            with adapted(run, job.id, of_job, launcher, view):
                _run(job, run.path)


def stage_names(pipeline: GraphComponent) -> dict[str, str]:
    """Component name (as KFP's local runner calls a task) → stage name, in the order of execution.

    Tasks of nested pipelines are included; the nested pipelines themselves are no stages.
    """
    return dict(_stage_names(pipeline.pipeline_spec.root.dag, pipeline.pipeline_spec.components))


def _stage_names(dag: Any, components: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name in in_order(dag.tasks):
        reference = dag.tasks[name].component_ref.name
        if components[reference].WhichOneof("implementation") == "dag":
            yield from _stage_names(components[reference].dag, components)
        else:
            yield reference.removeprefix("comp-"), slug(dag.tasks[name].task_info.name)


def _run(job: Job, folder: Path) -> None:
    # KFP prints its own colored log to stdout; keep it in a file for debugging.
    log = open(folder / "kfp.log", "a", encoding="utf-8")  # noqa: SIM115
    with log, contextlib.redirect_stdout(log), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about images without "python" in their names, about node pools
        logging.raiseExceptions = False  # on a full disk, logging's tracebacks would hide our error message
        runner = local.SubprocessRunner(use_venv=False)
        # No stage uses a workspace, and KFP deletes this folder; without it, a kill leaves one in /tmp.
        local.init(runner, pipeline_root=str(folder), workspace_root=str(folder / "no-workspace"))
        try:
            job.pipeline(**job.arguments)
        finally:
            local.config.LocalExecutionConfig.instance = None


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Makes SIGTERM and SIGHUP (closed terminal) stop a run like Ctrl-C."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    old = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
