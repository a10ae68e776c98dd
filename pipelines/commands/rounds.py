"""`mathloop run`: a local run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mathloop.errors import BadConfig, StorageRefused, UserError
from mathloop.remedies import explain
from pipelines.commands.exiting import INTERRUPTED, fail
from pipelines.commands.options import Pipeline, Profile, Sets, explicit_params

if TYPE_CHECKING:
    from mathloop.settings import Settings

LAST_LINES = 40
"""Lines of a failed stage's log to print."""


def run(
    ctx: typer.Context,
    profile: Profile = "laptop",
    seed: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Seed of every stage.")] = None,
    sets: Sets = None,
    problems: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Training problems with answers: a file or folder, s3://bucket/key, or hf://datasets/OWNER/NAME@REVISION/PATH.",
        ),
    ] = None,
    store: Annotated[
        str | None, typer.Option(metavar="URL", help="Store: a folder or s3://bucket/prefix.")
    ] = None,
    pipeline: Pipeline = "improvement-round",
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Resume this run; takes no other option.")
    ] = None,
) -> None:
    """Runs a whole round, or another pipeline, on this machine. A store's first run creates its model."""
    from rich.console import Console

    from pipelines.local.folder import RunFolder
    from pipelines.local.round import begin_round, resume_round
    from pipelines.profile import load_profile

    console = Console(file=sys.stdout)
    if resume is not None:
        for param in explicit_params(ctx):
            if param.name != "resume":
                raise BadConfig(f"--resume uses the run's own settings; leave out {param.opts[0]}")
        folder = RunFolder.find(resume)
    else:
        overrides = [
            f"{name}={value}" for name, value in (("seed", seed), ("store", store)) if value is not None
        ]
        settings = load_profile(profile, [*(sets or []), *overrides])
        folder = begin_round(settings, problems and problems.expanduser(), pipeline)
        with _stopped_with(_resume_with(folder.path)):  # the plan takes a second
            for note in _notes(settings, problems, pipeline, folder.path):
                print(f"mathloop: note: {note}", file=sys.stderr)
    watch_round(lambda: resume_round(folder, console), folder.path)


def _notes(settings: Settings, problems: Path | None, pipeline: str, folder: Path) -> list[str]:
    """What to know before a run that will go on all the same."""
    from pipelines.local.round import ROUND, SUFFIXES

    notes = [
        None if pipeline in SUFFIXES else _mismatch(settings, problems),
        _disk_space(settings, folder) if pipeline == ROUND else None,
    ]
    return [note for note in notes if note]


def _mismatch(settings: Settings, problems: Path | None) -> str | None:
    """What a run's problems and model, which do not fit each other, lead to."""
    own = problems is not None or bool(settings.problems.files)
    if settings.model == "nano" and own:
        return (
            "the nano model knows only the built-in generator's small world and solves next to none of "
            "other problems, so this round may find nothing to learn from; --profile smollm starts from a "
            "model that reads English"
        )
    if settings.model != "nano" and not own and settings.problems.generator == "nano":
        return (
            f"no --problems FILE, so {settings.model} gets the built-in generator's problems, which are made "
            "for the nano model: the scores say little about it; problems.generator=one_step has some for a "
            "small pretrained model"
        )
    return None


def _disk_space(settings: Settings, folder: Path) -> str | None:
    """Whether the disk of a run's folder has too little space for the round, as planned."""
    import shutil

    from mathloop.planning import make_plan

    try:
        needed = sum(make_plan(settings).storage.values())
    except UserError:  # a model whose shape is not known here
        return None
    free = shutil.disk_usage(folder).free
    if free >= needed:
        return None
    return (
        f"{folder.parent} has {free / 1e9:.1f} GB free, and this round may need {needed / 1e9:.1f} GB "
        "(mathloop plan): free some space, or stop now and start it in another folder"
    )


def watch_round(work: Any, folder: Path) -> None:
    """Runs `work`; if a stage fails, prints the end of its log and how to resume."""
    watch(work, folder, _resume_with(folder))


def _resume_with(folder: Path) -> str:
    from pipelines.local.folder import RUNS

    by_id = folder.parent == RUNS.resolve()
    return f"resume with: mathloop run --resume {folder.name if by_id else folder}"


@contextmanager
def _stopped_with(again: str) -> Iterator[None]:
    """On Ctrl-C, prints `again` and exits."""
    try:
        yield
    except KeyboardInterrupt:
        print(f"\nmathloop: stopped; {again}", file=sys.stderr)
        sys.exit(INTERRUPTED)


def watch(work: Any, folder: Path, again: str) -> None:
    """Runs `work` in `folder`; if a stage fails, prints the end of its log and `again`, how to resume."""
    with _stopped_with(again):
        _watch(work, folder, again)


def _watch(work: Any, folder: Path, again: str) -> None:
    from pipelines.local.tasks import StageFailed

    try:
        work()
    except StorageRefused as error:
        fail(f"{error}; {again}")
    except OSError as error:
        fail(f"{explain(error, folder)}; {again}")
    except StageFailed as failure:
        if failure.user_error is not None:
            fail(f"{failure.user_error}; {again}")
        print(f"\nlast lines of {failure.log}:", file=sys.stderr)
        with suppress(OSError):
            for line in failure.log.read_text("utf-8", errors="replace").splitlines()[-LAST_LINES:]:
                print(f"  {line}", file=sys.stderr)
        print(
            f"mathloop: stage {failure.stage} failed after {failure.seconds:.1f} s ({failure.cause}); "
            f"{again}",
            file=sys.stderr,
        )
        sys.exit(1)
