"""`mathloop report` and `mathloop clean`: what becomes of a run after it has ended."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mathloop.errors import BadConfig
from pipelines.paths import check_page

Runs = Annotated[
    list[str] | None, typer.Argument(metavar="RUN…", help="Ids or folders of runs. Default: all of runs/.")
]


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Id or folder of a run that was judged.")],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: report.html in the run's folder.")
    ] = None,
) -> None:
    """Writes a run's report again, from its records, and prints its scores, claims and decision."""
    from rich.console import Console

    from pipelines.local.folder import RunFolder
    from pipelines.local.results import show_results, write_report

    if out is not None:
        check_page("--out", out)
    folder = RunFolder.find(run)
    page = write_report(folder, out or folder.path / "report.html")
    show_results(folder, Console(file=sys.stdout), page=page)


def clean(
    runs: Runs = None,
    models: Annotated[
        bool, typer.Option("--models", help="Also weights of finished runs; the store keeps its own.")
    ] = False,
    whole: Annotated[
        bool, typer.Option("--whole-runs", help="Finished runs altogether, with reports and data.")
    ] = False,
    store: Annotated[
        str,
        typer.Option(metavar="URL", help="Instead, what jobs of killed rounds left in this store."),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
) -> None:
    """Lists what can be deleted of local runs, with sizes, and deletes it after asking.

    Without options that is the work folders of finished stages, which nothing needs any more: metrics, and
    checkpoints of a stage that was killed as it finished. With --store it is shards and copies of inputs of
    several nodes, which only the steps of a round that still runs need.
    """
    if store:
        if models or whole:
            raise BadConfig("--store looks for nothing of local runs: leave out --models and --whole-runs")
        _clean_store(store, runs or [], yes)
        return
    from pipelines.local.cleaning import find_runs, removable, remove
    from pipelines.local.folder import RUNS
    from pipelines.local.tasks import gibibytes

    found = list(removable(find_runs(runs or [], RUNS), models=models, whole=whole))
    for one in found:
        print(f"{gibibytes(one.size):>10}  {one.kind:<11}  {one.path}")
    if not found:
        print("nothing to delete; --models and --whole-runs look for more")
        return
    total = gibibytes(sum(one.size for one in found))
    if models or whole:
        print("An unpromoted challenger is nowhere else than in its run.")
    if not _confirmed(total, yes):
        return
    chosen = {one.path for one in found}
    gone = 0
    for run in {one.run.path: one.run for one in found}.values():
        try:
            for one in remove(run, chosen, models=models, whole=whole):
                print(f"deleted {one.path}")
                chosen.discard(one.path)
                gone += one.size
        except BadConfig as error:
            print(f"mathloop: note: {error}; nothing of it was deleted", file=sys.stderr)
            chosen -= {one.path for one in found if one.run.path == run.path}
    for path in sorted(chosen):
        print(f"mathloop: note: {path} is in use again, or gone; it was left alone", file=sys.stderr)
    print(f"deleted {gibibytes(gone)}")


def _confirmed(total: str, yes: bool) -> bool:
    """Whether to delete. Raises BadConfig if nobody can be asked."""
    if not yes and not sys.stdin.isatty():
        raise BadConfig(f"nothing was deleted: add --yes to delete {total}")
    if yes or typer.confirm(f"Delete {total}?"):
        return True
    print("nothing was deleted")
    return False


def _clean_store(url: str, rounds: list[str], yes: bool) -> None:
    from mathloop.storage import open_store
    from pipelines.cluster.leftovers import leftovers, remove
    from pipelines.local.tasks import gibibytes

    opened = open_store(url)
    found = list(leftovers(opened, rounds))
    for one in found:
        print(f"{gibibytes(one.size):>10}  {one.name}")
    if not found:
        print(f"nothing to delete: no job left anything in {opened.url}")
        return
    print("A round that still runs needs its own: name the rounds to delete if one does.")
    total = gibibytes(sum(one.size for one in found))
    if _confirmed(total, yes):
        for one in found:
            remove(opened, one)
            print(f"deleted {one.name}")
        print(f"deleted {total}")
