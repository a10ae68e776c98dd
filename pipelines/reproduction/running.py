"""Runs the parts of a reproduction one after another, and resumes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from rich.console import Console

from mathloop.errors import BadConfig
from mathloop.files import write_file
from mathloop.problems.nano_unseen import unseen
from mathloop.records import Problem
from mathloop.settings import Settings
from mathloop.stages import duration
from mathloop.writing.templates import load_template
from pipelines.local.cleaning import is_finished
from pipelines.local.folder import RunFolder, read_json, write_json
from pipelines.local.launcher import Launcher
from pipelines.local.round import begin_round, resume_round
from pipelines.paths import check_folder
from pipelines.profile import check_profile
from pipelines.reproduction.parts import PARTS, UNSEEN, Part, Place, part_seconds, settings_of
from pipelines.reproduction.scoring import SCORES, collect

PLAN = "reproduce.json"
"""File of a seed's folder with the settings that it began with."""
_UNSEEN_PROBLEMS = 1 / 3
"""Problems of the unseen benchmark per problem of the usual one."""


def begin(settings: Settings, out: Path) -> Place:
    """The folder of the settings' seed in `out`, new or to be resumed.

    Raises:
        BadConfig: the profile cannot be reproduced with, or the folder was begun with other settings.
        StorageRefused: the disk refuses.
    """
    _check(settings)
    check_folder(out)
    place = Place(out.resolve() / f"seed-{settings.seed}")
    path = place.path / PLAN
    before = read_json(path)
    if before is None:
        if place.path.exists() and any(place.path.iterdir()):
            raise BadConfig(f"--out {out}: {place.path} holds something else; choose another folder")
        place.path.mkdir(parents=True, exist_ok=True)
        write_json(path, settings.model_dump(mode="json"))
    elif _plan(check_profile(before, str(path))) != _plan(settings):
        raise BadConfig(
            f"{place.path} was begun with other settings; resume it with the same profile and --set, or "
            "choose another --out"
        )
    count = max(1, round(settings.problems.benchmark * _UNSEEN_PROBLEMS))
    lines = [json.dumps(_row(one), ensure_ascii=False) + "\n" for one in unseen(count)]
    if not (place.path / UNSEEN).exists():
        write_file(place.path / UNSEEN, "".join(lines).encode())
    return place


def _plan(settings: Settings) -> Settings:
    """What must be the same to resume."""
    return settings.model_copy(update={"description": ""})


def _row(problem: Problem) -> dict[str, Any]:
    fields = ("id", "problem", "answer", "language", "family")
    return {name: getattr(problem, name) for name in fields}


def _check(settings: Settings) -> None:
    shown = f"profile {settings.name}"
    if settings.model != "nano" or settings.problems.files or settings.problems.generator != "nano":
        raise BadConfig(f"{shown}: reproduce runs with the nano model and the nano problems alone")
    if settings.corpus.sources or settings.corpus.given:
        raise BadConfig(f"{shown}: reproduce pretrains on the nano corpus first: leave out corpus.sources")
    if not settings.corpus.writing_share:
        raise BadConfig(f"{shown}: corpus.writing_share is 0, so the model never learns to write problems")
    templates = [load_template(name) for name in settings.writing.templates]
    if all(one.does.fields for one in templates):
        raise BadConfig(
            f"{shown}: writing.templates needs one without a parent, such as nano_write; the profile "
            "reproduce has some"
        )


def run_parts(place: Place, settings: Settings, console: Console) -> Path:
    """Runs what is left of the parts, writes the scores, and returns their file.

    Raises:
        UserError, StageFailed, KeyboardInterrupt: as `resume_round`; the same call resumes.
    """
    left = [part for part in PARTS if not is_finished(place.run(part.name))]
    if left:
        with Launcher() as launcher:
            for part in left:
                console.print(_progress(place, part), markup=False, highlight=False, soft_wrap=True)
                resume_round(_run_of(part, place, settings), console, launcher)
    path = place.path / SCORES
    write_file(path, collect(place, settings).model_dump_json(indent=1).encode())
    return path


def _run_of(part: Part, place: Place, settings: Settings) -> RunFolder:
    run = place.run(part.name)
    if (run.path / "run.json").is_file():
        return run
    own = settings_of(part, settings, place)
    return begin_round(own, None, part.pipeline, runs=run.path.parent, name=part.name)


def _progress(place: Place, part: Part) -> str:
    """`part 3/11 round-2 · 8 min 2 s so far · about 20 min left`."""
    done = [one for one in PARTS if is_finished(place.run(one.name))]
    taken = sum(part_seconds(place.run(one.name)) for one in done)
    words = [f"\npart {PARTS.index(part) + 1}/{len(PARTS)} {part.name}"]
    if done:
        rest = sum(one.minutes for one in PARTS if one not in done)
        words.append(f"{duration(taken)} so far")
        words.append(f"about {duration(taken * rest / sum(one.minutes for one in done))} left in all")
    return " · ".join(words)
