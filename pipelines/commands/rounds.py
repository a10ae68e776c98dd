"""`mathloop run`: a round on this machine."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from mathloop.errors import BadConfig, StorageRefused
from mathloop.remedies import explain
from pipelines.commands.ending import INTERRUPTED, end
from pipelines.commands.options import Pipeline, Profile, Sets, given

LAST_LINES = 40
"""Lines of a failed stage's log that are shown."""


def run(
    ctx: typer.Context,
    profile: Profile = "laptop",
    seed: Annotated[int | None, typer.Option(min=0, max=2**31 - 1, help="Seed of every stage.")] = None,
    sets: Sets = None,
    problems: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Training problems: .jsonl or .parquet with answers.")
    ] = None,
    store: Annotated[str | None, typer.Option(metavar="URL", help="Folder or s3://bucket/prefix.")] = None,
    pipeline: Pipeline = "improvement-round",
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Resumes a run; takes no other option.")
    ] = None,
) -> None:
    """Runs a whole round here, or another pipeline; a store's first run also makes its model."""
    from rich.console import Console

    from pipelines.local.folder import RunFolder
    from pipelines.local.round import begin_round, resume_round
    from pipelines.profile import load_profile

    console = Console(file=sys.stdout)
    if resume is not None:
        for param in given(ctx):
            if param.name != "resume":
                raise BadConfig(f"--resume uses the run's own settings; leave out {param.opts[0]}")
        folder = RunFolder.find(resume)
    else:
        overrides = [
            f"{name}={value}" for name, value in (("seed", seed), ("store", store)) if value is not None
        ]
        folder = begin_round(
            load_profile(profile, [*(sets or []), *overrides]), problems and problems.expanduser(), pipeline
        )
    watch_round(lambda: resume_round(folder, console), folder.path)


def watch_round(work: Any, folder: Path) -> None:
    """Does the work; says what failed, prints the end of its log, and how to resume."""
    from pipelines.local.folder import RUNS
    from pipelines.local.tasks import StageFailed

    near = folder.parent == RUNS.resolve()
    again = f"resume with: mathloop run --resume {folder.name if near else folder}"
    try:
        work()
    except StorageRefused as error:
        end(f"{error}; {again}")
    except OSError as error:
        end(f"{explain(error, folder)}; {again}")
    except KeyboardInterrupt:
        print(f"\nmathloop: stopped; {again}", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except StageFailed as failure:
        if failure.user_error is not None:
            end(f"{failure.user_error}; {again}")
        ending = f"exit code {failure.exit_code}"
        if failure.exit_code < 0:
            ending = f"killed by signal {-failure.exit_code}"
        print(f"\nlast lines of {failure.log}:", file=sys.stderr)
        with suppress(OSError):
            for line in failure.log.read_text("utf-8", errors="replace").splitlines()[-LAST_LINES:]:
                print(f"  {line}", file=sys.stderr)
        print(
            f"mathloop: stage {failure.stage} failed after {failure.seconds:.1f} s ({ending}); {again}",
            file=sys.stderr,
        )
        sys.exit(1)
