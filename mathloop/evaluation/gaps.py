"""What is missing from saved responses, in a line each: a score must not be lowered without a word."""

from __future__ import annotations

from mathloop.evaluation.metrics import Outcomes
from mathloop.evaluation.table import NAMES


def gaps(outcomes: Outcomes) -> list[str]:
    """Lines on problems without a response, and on unequal numbers of samples."""
    lines = []
    for model, mode in outcomes.entries:
        name = f"{NAMES.get(model, model)} {NAMES.get(mode, mode)}"
        counts = outcomes.samples_of(model, mode)
        asked = int(outcomes.measured(model, mode, greedy=not counts).sum())
        without = asked - sum(counts.values()) + counts.pop(0, 0)
        if not counts:  # greedy responses alone
            without = outcomes.missing(model, mode) - (len(outcomes.problems) - asked)
        if without > 0:
            lines.append(f"{name}: {without:,} of {asked:,} problems have no response; they count as wrong")
        if len(counts) > 1:
            shown = ", ".join(f"{n} for {number:,}" for n, number in counts.most_common(4))
            lines.append(
                f"{name}: unequal numbers of samples ({shown} problems); each problem is scored over its own"
            )
    return lines
