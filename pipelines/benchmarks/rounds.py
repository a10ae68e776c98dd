"""`mathloop benchmark round`: first rounds over several seeds, and the means of what their tables show."""

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
    """A first round with `seed`, in an empty store of its own; raises what `begin_round` raises."""
    store = _fresh(RUNS / f"benchmark-{Path(profile).stem}-{seed}")
    return begin_round(load_profile(profile, [*sets, f"seed={seed}", f"store={store}"]), None)


def print_means(folders: Sequence[RunFolder], console: Console) -> None:
    """Prints the mean scores of rounds that have ended, and which of the paper's orderings they keep."""
    tables = [table_of(folder) for folder in folders]
    console.print(f"\nmeans over {len(tables)} rounds, percent", markup=False, highlight=False)
    console.print(_means(tables))
    for line in orderings(tables):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def orderings(tables: Sequence[Table]) -> list[str]:
    """The paper's orderings on the means over `tables`, a line each."""
    lines = []
    for same in zip(*map(check_orderings, tables), strict=True):
        lesser, greater = mean(one.lesser_value for one in same), mean(one.greater_value for one in same)
        holds = "holds" if greater > lesser else "FAILS"
        claim = f"{same[0].greater} {100 * greater:.1f} above {same[0].lesser} {100 * lesser:.1f}"
        lines.append(f"{holds}  {same[0].claim}: {claim}")
    return lines


def _means(tables: Sequence[Table]) -> Grid:
    metrics = tables[0].metrics
    grid = Grid("", *metrics)
    for model in tables[0].models:
        for mode in tables[0].modes:
            cells = []
            for metric in metrics:
                found = [score.value for table in tables if (score := table.get(model, mode, metric))]
                cells.append(f"{100 * mean(found):.1f}" if found else "")
            grid.add_row(f"{NAMES.get(model, model)} {NAMES.get(mode, mode)}", *cells)
    return grid


def _fresh(store: Path) -> Path:
    """The folder, or the first of its name with a number that does not exist yet."""
    candidates = (store.with_name(f"{store.name}.{again}") for again in range(1, 10_000))
    return store if not store.exists() else next(path for path in candidates if not path.exists())
