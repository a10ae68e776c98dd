"""Sentences on what a table of scores cannot show: few problems, and intervals without width."""

from __future__ import annotations

from mathloop.evaluation.differences import least_difference, unseen_share
from mathloop.evaluation.table import Table

FEW = 100
"""A benchmark with fewer problems is called small."""


def cautions(table: Table) -> list[str]:
    """A sentence per small benchmark, and one if an interval has no width."""
    names = [name for name in table.groups if name.startswith("benchmark:")] or ["all"]
    sizes = {name: max((one.n for one in table.scores if one.group == name), default=0) for name in names}
    lines = []
    for name, n in sizes.items():
        if 0 < n < FEW:
            shown = "The benchmark" if name == "all" else name.partition(":")[2]
            lines.append(small(shown, n))
    alike = [one.n for one in table.scores if one.group in sizes and one.low == one.high]
    if alike:
        n = min(alike)
        lines.append(
            f"An interval without width is no certainty: all {problems(n)} had the same result, and up to "
            f"{100 * unseen_share(n):.1f} % of others may not."
        )
    return lines


def small(name: str, n: int) -> str:
    """The sentence about a benchmark of n problems; other scores than 0 and 1 can show less."""
    least = f"{100 * least_difference(n):.1f} points in greedy accuracy of one mode"
    return f"{name} is small: {problems(n)} can show no difference below {least}."


def problems(n: int) -> str:
    """`1 problem`, `1,319 problems`."""
    return f"{n:,} problem{'' if n == 1 else 's'}"
