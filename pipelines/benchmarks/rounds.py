"""`mathloop benchmark round`: first rounds with several seeds, and their mean scores."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import mean

from rich.console import Console
from rich.table import Table as Grid

from mathloop.evaluation import Outcomes, Table, check_orderings, tabulate
from mathloop.evaluation.table import NAMES
from pipelines.local.folder import RUNS, RunFolder
from pipelines.local.results import outcomes_of
from pipelines.local.round import begin_round
from pipelines.profile import load_profile


def begin(profile: str, seed: int, sets: Sequence[str]) -> RunFolder:
    """Starts a first round with `seed` in its own empty store; raises the errors of `begin_round`."""
    store = _fresh(RUNS / f"benchmark-{Path(profile).stem}-{seed}")
    return begin_round(load_profile(profile, [*sets, f"seed={seed}", f"store={store}"]), None)


def print_means(folders: Sequence[RunFolder], console: Console) -> None:
    """Prints the mean scores of completed rounds, and which of the paper's claims hold."""
    rounds = [outcomes_of(folder) for folder in folders]
    console.print(f"\nmeans over {len(rounds)} rounds, percent", markup=False, highlight=False)
    console.print(_means([tabulate(one) for one in rounds]))
    for line in orderings(rounds):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def orderings(rounds: Sequence[Outcomes]) -> list[str]:
    """The paper's claims, tested on several rounds together, one line each."""
    return [
        f"{one.mark:<12}  {one.claim}: {one.greater} {100 * one.greater_value:.1f}, "
        f"{one.lesser} {100 * one.lesser_value:.1f}, difference {100 * one.difference.low:+.1f} to "
        f"{100 * one.difference.high:+.1f}"
        for one in check_orderings(*rounds)
    ]


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
