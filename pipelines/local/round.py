"""A whole round on this machine: from a profile to its report, begun or gone on with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

import mathloop
from mathloop.errors import BadConfig, BadData
from pipelines.local.folder import RunFolder
from pipelines.local.launcher import Launcher
from pipelines.profile import PRETRAINING, Head, check_profile, stage_config

if TYPE_CHECKING:
    from pipelines.local.runner import Job

IMPORTED = "-import"
"""Ends the id of the pipeline run that imports a model, and so names its place in the store."""
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
        UserError: the problems file, the store or its champion cannot be used; no folder is left behind.
    """
    from mathloop.problems.files import load_problem_file
    from mathloop.registry import Registry
    from mathloop.storage import open_store

    if problems_file is not None:
        load_problem_file(problems_file, profile.problems.rejects_share)  # type: ignore[attr-defined]
    url = profile.store if "://" in profile.store else os.path.abspath(profile.store)
    store = open_store(url)
    store.check_writable()
    registry = Registry(store)
    champion = registry.current()
    if champion is not None:
        registry.check_models(champion)
        _check_line(champion.base, profile)
    settings = {
        "created": datetime.now().astimezone().isoformat(timespec="seconds"),
        "mathloop": mathloop.__version__,
        "first": champion is None,
        "problems_file": "" if problems_file is None else str(problems_file.absolute()),
        "problems_sha256": "" if problems_file is None else _digest(problems_file),
        "profile": {**profile.model_dump(mode="json"), "store": url},
    }
    return RunFolder.create(settings)


def _check_line(base: str, profile: Head) -> None:
    """A store continues one line of models; a profile that means another must not join it unnoticed."""
    imported = f"{IMPORTED}/" in base
    if imported == (profile.model == "nano"):
        held = "an imported model" if imported else "a model that was pretrained there"
        raise BadConfig(
            f"store {profile.store} continues {held}, and profile {profile.name} starts from {profile.model}: "
            f"give it a store of its own, --store runs/{profile.name}"
        )


def go_on(run: RunFolder, console: Console) -> None:
    """Runs what is left of a round: the first model where the store had none, then the round; prints its end.

    Raises:
        BadData: the problems file is not the one that the run began with.
        StageFailed: a stage ended badly.
        KeyboardInterrupt: it was stopped.
    """
    settings = run.settings
    problems_file = settings["problems_file"]
    if problems_file and _digest(Path(problems_file)) != settings["problems_sha256"]:
        raise BadData("not the file that this run began with; begin a new run", path=problems_file)
    profile = check_profile(settings["profile"], f"{run.path}/run.json")
    with Launcher() as launcher:  # it loads what stages need while we load KFP
        from pipelines.local.runner import run_pipelines

        run_pipelines(_jobs(run.id, profile, problems_file, first=settings["first"]), run, launcher, console)
    _show(run, console)


def _jobs(run_id: str, profile: Head, problems_file: str, *, first: bool) -> list[Job]:
    from pipelines.improvement_round import improvement_round
    from pipelines.local.runner import Job
    from pipelines.pretraining import model_import, pretraining

    stored: dict[str, Any] = {"store_url": profile.store}
    jobs = []
    if first and profile.model == "nano":
        sections = {name: stage_config(profile, name) for name in PRETRAINING}
        jobs.append(Job(pretraining, {**stored, "seed": profile.seed, **sections}, f"{run_id}-pretraining"))
    elif first:
        jobs.append(Job(model_import, {**stored, "source": profile.model}, f"{run_id}{IMPORTED}"))
    sections = {name: stage_config(profile, name) for name in SECTIONS}
    told = {"problems_file": problems_file, "profile": profile.model_dump_json()}
    jobs.append(Job(improvement_round, {**stored, "seed": profile.seed, **told, **sections}, run_id))
    return jobs


def _show(run: RunFolder, console: Console) -> None:
    """Prints the table, the gate's decision and where the report is."""
    from mathloop.evaluation import print_table, score_table
    from mathloop.records import read_problems, read_responses

    benchmark = run.stages / "build-problems" / "benchmark"
    results = run.stages / "evaluate-round" / "results"
    table = score_table(read_problems(benchmark), read_responses(results), k=None)
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
        raise BadData(f"cannot be read ({error.strerror})", path=path) from None
