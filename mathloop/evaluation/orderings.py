"""The paper's claims as orderings of scores that a round can test (Paper §5, tables 4 to 8)."""

from __future__ import annotations

from dataclasses import dataclass

from mathloop.evaluation.roles import CHALLENGER
from mathloop.evaluation.table import NAMES, Table

LARGE_NUMBERS = "family:large_numbers"
"""The problem family whose arithmetic is too hard without a tool."""


@dataclass(frozen=True, slots=True)
class Ordering:
    """One claim: `greater` scores above `lesser`."""

    claim: str
    lesser: str
    lesser_value: float
    greater: str
    greater_value: float

    @property
    def holds(self) -> bool:
        """True if strictly above; a tie does not hold."""
        return self.greater_value > self.lesser_value


def check_orderings(table: Table, challenger: str = CHALLENGER) -> list[Ordering]:
    """Tests each claim on `table`; claims about models, metrics or families without scores are left out.

    Training: SFT above base, and the challenger above SFT (greedy). Selection: for the challenger, maj@k
    above greedy, and rm@k above maj@k. These compare means over the modes that both sides have. Tools: for
    the challenger, TIR above CoT (greedy) on the family `large_numbers`.
    """
    majority, reward = f"maj@{table.k}", f"rm@{table.k}"
    name = NAMES.get(challenger, challenger)
    candidates = [
        _ordering(table, "SFT improves on the base model", ("base", "greedy"), ("sft", "greedy")),
        _ordering(table, "Reinforcement learning improves on SFT", ("sft", "greedy"), (challenger, "greedy")),
        _ordering(
            table,
            f"Majority vote beats greedy decoding ({name})",
            (challenger, "greedy"),
            (challenger, majority),
        ),
        _ordering(
            table,
            f"The reward model beats majority vote ({name})",
            (challenger, majority),
            (challenger, reward),
        ),
        _tools(table, challenger),
    ]
    return [ordering for ordering in candidates if ordering is not None]


def _ordering(table: Table, claim: str, lesser: tuple[str, str], greater: tuple[str, str]) -> Ordering | None:
    pairs = [
        (table.get(lesser[0], mode, lesser[1]), table.get(greater[0], mode, greater[1]))
        for mode in table.modes
    ]
    both = [(one.value, other.value) for one, other in pairs if one is not None and other is not None]
    if not both:
        return None
    labels = [
        metric if lesser[0] == greater[0] else f"{NAMES.get(model, model)} {metric}"
        for model, metric in (lesser, greater)
    ]
    below, above = (sum(values) / len(both) for values in zip(*both, strict=True))
    return Ordering(claim, labels[0], below, labels[1], above)


def _tools(table: Table, challenger: str) -> Ordering | None:
    cot, tir = (table.get(challenger, mode, "greedy", LARGE_NUMBERS) for mode in ("cot", "tir"))
    if cot is None or tir is None:
        return None
    claim = f"Tools help with large numbers ({NAMES.get(challenger, challenger)})"
    return Ordering(claim, "CoT greedy", cot.value, "TIR greedy", tir.value)
