"""Formatting of numbers and names in a report."""

from __future__ import annotations

import math
from typing import Any

from mathloop.evaluation.differences import unseen_share
from mathloop.evaluation.table import NAMES
from mathloop.reports.markup import clip
from mathloop.stages import duration

__all__ = [
    "count",
    "difference_range",
    "duration",
    "label",
    "percent",
    "points",
    "scalar",
    "setting",
    "title",
    "words",
]

_WORDS = {"kl": "KL", "rm": "RM", "sft": "SFT", "grpo": "GRPO", "cot": "CoT", "tir": "TIR"}
_TITLES = {
    "decontamination_problems": "Decontamination: problems",
    "writing": "Written problems",
    "decontamination_writing": "Decontamination: written problems",
    "decontamination_cot": "Decontamination: CoT responses",
    "decontamination_tir": "Decontamination: TIR responses",
}
"""Titles of stages whose names alone do not read well."""


def count(value: float) -> str:
    """A whole number with a thousands separator: 4,800."""
    return f"{round(value):,}"


def percent(share: float) -> str:
    """A fraction as percent with one decimal, without the % sign: 63.5."""
    return f"{100 * share:.1f}"


def points(share: float) -> str:
    """A difference of fractions in percentage points, signed: +4.2 or −4.2."""
    return f"{100 * share:+.1f}".replace("-", "−")


def setting(value: Any) -> str:
    """The value of a setting; None is one that an older version did not have."""
    return "not set" if value is None else clip(str(value), 200)


def difference_range(low: float, high: float, n: int, *, bare: bool = False) -> str:
    """`95 % interval +1.2 to +3.4`, without the first words if `bare`; one without width is no certainty."""
    if low == high:
        if bare:
            return f"none: all {n:,} alike"
        others = f"up to {percent(unseen_share(n))} % of others may not"
        return f"No interval: all {n:,} problems differ alike, and {others}"
    shown = f"{points(low)} to {points(high)}"
    return shown if bare else f"95 % interval {shown}"


def scalar(value: float) -> str:
    """A measured number with three significant digits."""
    if not math.isfinite(value):
        return str(value)
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace("-", "−")
    if abs(value) >= 10_000:
        return count(value).replace("-", "−")
    return f"{value:.3g}".replace("-", "−")


def words(name: str) -> str:
    """A stage, reason or key as words: `reward_model` → reward model, `kl` → KL."""
    return " ".join(_WORDS.get(word, word) for word in name.replace("_", " ").split(" "))


def title(name: str) -> str:
    """A stage's title: `words` with a capital first letter."""
    spelled = _TITLES.get(name) or words(name)
    return spelled[:1].upper() + spelled[1:]


def label(name: str) -> str:
    """The display name of a model or mode."""
    return NAMES.get(name, name)
