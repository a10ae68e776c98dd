"""A whole round on this machine: from a profile to its report, begun or gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console

import mathloop
from mathloop.errors import BadConfig, BadData, StorageRefused
from pipelines.local.folder import RUNS, RunFolder
from pipelines.local.launcher import Launcher
from pipelines.paths import check_folder, tidied
from pipelines.profile import PRETRAINING, Head, check_profile, stage_config

if TYPE_CHECKING:
    from mathloop.evaluation import Table
    from pipelines.local.runner import Job

PRETRAINED, IMPORTED = "-pretraining", "-import"
"""End the id of the pipeline run that makes a store's first model here, and so the model's name."""
SECTIONS = (
    "problems",
    "evolution",
    "decontamination",
    "cot",
    "tir",
    "sft",
    "reward_data",
    "reward_model",
    "selection",
    "grpo",
    "evaluation",
    "gate",
)
"""Sections of a profile that the improvement round takes, each under its own name."""


def begin_round(profile: Head, problems_file: Path | None) -> RunFolder:
    """Checks what can be checked before anything is computed, then makes the run's folder.

    Raises:
        UserError: the problems file, the store, its champion or the model cannot be used.
        OSError: the disk refuses. No folder is left behind in either case.
    """
    from mathloop.registry import Registry
    from mathloop.storage import open_store
    from mathloop.training.sources import PACKAGE, find_source

    check_folder(RUNS)
    if problems_file is not None:
        _check_problems(problems_file, profile)
    url = _store_url(profile.store)
    store = open_store(url)
    with tidied(RUNS, *([] if "://" in store.url else [Path(store.url)])):
        store.check_writable()
        registry = Registry(store)
        champion = registry.current()
        model = profile.model
        if champion is not None:
            registry.check_models(champion)
            _check_line(champion.base, profile)
        elif model != "nano":
            source = find_source(model)
            model = model if model.startswith(PACKAGE) else str(source.absolute())
        settings = {
            "created": datetime.now().astimezone().isoformat(timespec="seconds"),
            "mathloop": mathloop.__version__,
            "first": champion is None,
            "problems_file": "" if problems_file is None else str(problems_file.absolute()),
            "problems_sha256": "" if problems_file is None else _digest(problems_file),
            "profile": {**profile.model_dump(mode="json"), "store": url, "model": model},
        }
        return RunFolder.create(settings)


def _check_problems(path: Path, profile: Head) -> None:
    from mathloop.problems.files import load_problem_file

    load_problem_file(path, profile.problems.rejects_share)  # type: ignore[attr-defined]


def _store_url(text: str) -> str:
    """A store as its stages need it, wherever they run; what is wrong with a URL `open_store` says."""
    if "://" in text or not text.strip():
        return text
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", text):
        expected = "expected a folder, file:///folder or s3://bucket/prefix"
        raise StorageRefused(f"{text!r} is not a store; {expected} (a folder of this name is ./{text})")
    return os.path.abspath(text)


def _check_line(base: str, profile: Head) -> None:
    """A store continues one line of models; a profile that means another must not join it unnoticed."""
    imported, pretrained = f"{IMPORTED}/" in base, f"{PRETRAINED}/" in base
    if imported if profile.model == "nano" else pretrained:
        held = "an imported model" if imported else "a model that was pretrained there"
        raise BadConfig(
            f"store {profile.store} continues {held}, and profile {profile.name} starts from "
            f"{profile.model}: give it a store of its own, --store runs/{profile.name}"
        )


class _Settings(BaseModel):
    """What go_on needs of run.json."""

    model_config = ConfigDict(strict=True)

    first: bool
    problems_file: str
    problems_sha256: str
    profile: dict[str, Any]


def go_on(run: RunFolder, console: Console) -> None:
    """Runs what is left of a round: the first model where the store had none, then the round; prints its end.

    Raises:
        BadConfig: run.json is damaged.
        BadData: the problems file is not the one that the run began with.
        StageFailed: a stage ended badly.
        KeyboardInterrupt: it was stopped.
    """
    shown = f"{run.path}/run.json"
    try:
        settings = _Settings.model_validate(run.settings)
    except ValidationError as error:
        field = ".".join(map(str, error.errors()[0]["loc"]))
        raise BadConfig(f"{shown}: {field}: damaged ({error.errors()[0]['msg']}); begin a new run") from None
    problems_file = settings.problems_file
    if problems_file and _digest(Path(problems_file)) != settings.problems_sha256:
        raise BadData("not the file that this run began with; begin a new run", path=problems_file)
    profile = check_profile(settings.profile, shown)
    with Launcher() as launcher:  # it loads what stages need while we load KFP
        from pipelines.local.runner import run_pipelines

        run_pipelines(_jobs(run.id, profile, problems_file, first=settings.first), run, launcher, console)
    _show(run, console)


def _jobs(run_id: str, profile: Head, problems_file: str, *, first: bool) -> list[Job]:
    from pipelines.improvement_round import improvement_round
    from pipelines.local.runner import Job
    from pipelines.pretraining import model_import, pretraining

    stored: dict[str, Any] = {"store_url": profile.store}
    jobs = []
    if first and profile.model == "nano":
        sections = {name: stage_config(profile, name) for name in PRETRAINING}
        jobs.append(Job(pretraining, {**stored, "seed": profile.seed, **sections}, f"{run_id}{PRETRAINED}"))
    elif first:
        jobs.append(Job(model_import, {**stored, "source": profile.model}, f"{run_id}{IMPORTED}"))
    sections = {name: stage_config(profile, name) for name in SECTIONS}
    told = {"problems_file": problems_file, "profile": profile.model_dump_json()}
    jobs.append(Job(improvement_round, {**stored, "seed": profile.seed, **told, **sections}, run_id))
    return jobs


def table_of(run: RunFolder) -> Table:
    """The scores of a round that has ended."""
    from mathloop.evaluation import score_table
    from mathloop.records import read_problems, read_responses

    benchmark = run.stages / "build-problems" / "benchmark"
    results = run.stages / "evaluate-round" / "results"
    return score_table(read_problems(benchmark), read_responses(results), k=None)


def _show(run: RunFolder, console: Console) -> None:
    """Prints the table, the gate's decision and where the report is."""
    from mathloop.evaluation import print_table

    table = table_of(run)
    published: dict[str, Any] = json.loads((run.stages / "publish-round" / "published").read_text("utf-8"))
    report = run.path / "report.html"
    shutil.copyfile(run.stages / "report-round" / "page", report)
    decision = f"promoted to champion {published['number']}" if published["promoted"] else "not promoted"
    for text in ("", print_table(table), "", f"{decision}: {published['reason']}", f"report: {report}"):
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _digest(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise BadData(
            f"cannot be read ({error.strerror}); put it back, or begin a new run", path=path
        ) from None
    except ValueError:  # a NUL character
        raise BadData("is not the name of a file; begin a new run", path=path) from None
