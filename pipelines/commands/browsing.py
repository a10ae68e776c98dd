"""`mathloop browse`: every problem of a benchmark, with what one or two models wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.paths import check_page

SideName = Annotated[str, typer.Argument(metavar="A", help="Run, champion's number, round, or evaluation.")]
OtherName = Annotated[str | None, typer.Argument(metavar="B", help="Another one, to see beside A.")]


def browse(
    a: SideName,
    b: OtherName = None,
    store: Annotated[
        str,
        typer.Option(metavar="URL", help="Store of champions and rounds: a folder or s3://bucket/prefix."),
    ] = "runs/store",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Default: problems.html, of a run alone in the run's folder."),
    ] = None,
) -> None:
    """Writes a page with every problem, to search, filter and read: verdicts, responses, rewards, votes.

    A run alone is shown with its champion before and its challenger after, and with what its stages kept and
    dropped. Of much text, a folder with the data is written beside the page.
    """
    from mathloop.reports import browser
    from pipelines.local.folder import RunFolder
    from pipelines.local.results import reports_of
    from pipelines.sides import find_run, open_browsed

    run = None if b else find_run(a)
    out = out or (run / "problems.html" if run else Path("problems.html"))
    check_page("--out", out)
    with open_browsed([a, *([b] if b else [])], store) as sides:
        folder = browser.run(
            sides=sides,
            out=out,
            title=f"Problems of run {run.resolve().name}" if run else "Problems",
            stages=[one for one in reports_of(RunFolder(run)) if one.stage != "report"] if run else [],
            run=run,
        )
    print(f"page: {out}" + (f", with its data in {folder}" if folder else ""))
