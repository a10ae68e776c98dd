"""What the paper's results claim, as orderings that a round can test (Paper §5, tables 4 to 8)."""

from __future__ import annotations

from dataclasses import dataclass

from mathloop.evaluation.roles import CHALLENGER
from mathloop.evaluation.table import NAMES, Table

LARGE_NUMBERS = "family:large_numbers"
"""The family whose arithmetic is too hard to do in the head."""


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
        """Strictly above; a tie does not hold."""
        return self.greater_value > self.lesser_value


def check_orderings(table: Table, challenger: str = CHALLENGER) -> list[Ordering]:
    """Tests each claim on `table`; one whose models, metrics or family were not measured is left out.

    Training: SFT above base and the challenger above SFT (greedy). Selection: greedy below maj@k below rm@k
    for the challenger. Both as means over the modes that both sides have. Tools: TIR above CoT (greedy) on
    the family `large_numbers` for the challenger.
    """
    majority, reward = f"maj@{table.k}", f"rm@{table.k}"
    name = NAMES.get(challenger, challenger)
    candidates = [
        _ordering(table, "SFT improves on the base model", ("base", "greedy"), ("sft", "greedy")),
        _ordering(table, "Reinforcement learning improves on SFT", ("sft", "greedy"), (challenger, "greedy")),
        _ordering(table, f"A vote beats one answer ({name})", (challenger, "greedy"), (challenger, majority)),
        _ordering(
            table, f"The reward model beats the vote ({name})", (challenger, majority), (challenger, reward)
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
    claim = f"Tools help where numbers are large ({NAMES.get(challenger, challenger)})"
    return Ordering(claim, "CoT greedy", cot.value, "TIR greedy", tir.value)
