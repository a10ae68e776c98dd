"""`mathloop benchmark round`: first rounds with several seeds, and their mean scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table as Grid

from mathloop.evaluation import Table, check_orderings
from mathloop.evaluation.table import NAMES
from pipelines.local.folder import RUNS, RunFolder
from pipelines.local.round import begin_round, table_of
from pipelines.profile import load_profile


def begin(profile: str, seed: int, sets: Sequence[str]) -> RunFolder:
    """Starts a first round with `seed` in its own empty store; raises the errors of `begin_round`."""
    store = _fresh(RUNS / f"benchmark-{Path(profile).stem}-{seed}")
    return begin_round(load_profile(profile, [*sets, f"seed={seed}", f"store={store}"]), None)


def print_means(folders: Sequence[RunFolder], console: Console) -> None:
    """Prints the mean scores of completed rounds, and which of the paper's claims hold."""
    tables = [table_of(folder) for folder in folders]
    console.print(f"\nmeans over {len(tables)} rounds, percent", markup=False, highlight=False)
    console.print(_means(tables))
    for line in orderings(tables):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def orderings(tables: Sequence[Table]) -> list[str]:
    """The paper's claims, tested on the means over `tables`, one line each."""
    lines = []
    for ordering in zip(*map(check_orderings, tables), strict=True):
        lesser, greater = (
            mean(one.lesser_value for one in ordering),
            mean(one.greater_value for one in ordering),
        )
        holds = "holds" if greater > lesser else "FAILS"
        claim = f"{ordering[0].greater} {100 * greater:.1f} above {ordering[0].lesser} {100 * lesser:.1f}"
        lines.append(f"{holds}  {ordering[0].claim}: {claim}")
    return lines


def _means(tables: Sequence[Table]) -> Grid:
    metrics = tables[0].metrics
    grid = Grid("", *metrics)
    for model in tables[0].models:
        for mode in tables[0].modes:
            cells = []
            for metric in metrics:
                values = [score.value for table in tables if (score := table.get(model, mode, metric))]
                cells.append(f"{100 * mean(values):.1f}" if values else "")
            grid.add_row(f"{NAMES.get(model, model)} {NAMES.get(mode, mode)}", *cells)
    return grid


def _fresh(store: Path) -> Path:
    """The folder or, if it exists, its name with the first free number."""
    candidates = (store.with_name(f"{store.name}.{again}") for again in range(1, 10_000))
    return store if not store.exists() else next(path for path in candidates if not path.exists())
