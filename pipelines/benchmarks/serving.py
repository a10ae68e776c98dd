"""`mathloop benchmark serve`: what adaptive sampling saves, on saved responses."""

from __future__ import annotations

from pathlib import Path

from mathloop.evaluation.adaptive import ORDERS, measure_saving
from mathloop.evaluation.rescoring import SAVED, fold, parse_fields
from mathloop.voting import STRATEGIES
from mathloop.voting.adaptive import THRESHOLD
from pipelines.benchmarks.printing import aligned


def run_saved(places: list[Path], fields: str | None) -> None:
    """Prints, per model, mode and strategy, the share of the samples drawn and the paired difference.

    Raises BadConfig and BadData as `mathloop score` does.
    """
    outcomes = fold(places, parse_fields(fields) if fields else SAVED).by_labels
    rows = []
    for model, mode in outcomes.entries:
        rewarded = any(one.reward is not None for _, many in outcomes.samples(model, mode) for one in many)
        for strategy, one in STRATEGIES.items():
            if one.needs == "greedy" or (one.needs == "rewards" and not rewarded):
                continue
            saving = measure_saving(outcomes, model, mode, strategy)
            found = saving.difference
            interval = f"{100 * found.value:+.2f} [{100 * found.low:+.2f}, {100 * found.high:+.2f}]"
            drawn, full = f"{100 * saving.drawn:.1f} %", f"{100 * saving.full:.1f}"
            rows.append((model, mode, strategy, drawn, full, interval, str(found.n)))
    print(f"adaptive sampling: threshold {THRESHOLD:g}, {ORDERS} random orders of each problem's samples")
    head = ("model", "mode", "strategy", "drawn", "all samples", "adaptive less all", "problems")
    print(aligned(head, rows, left=(0, 1, 2)))
