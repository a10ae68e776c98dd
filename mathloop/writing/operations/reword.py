"""Rewording (MetaMath, Yu et al. 2023, arXiv 2309.12284): the same numbers and the same answer."""

from collections.abc import Sequence

from mathloop.records import Problem
from mathloop.writing.operations.operation import Operation
from mathloop.writing.quantities import same_quantities


def check(parents: Sequence[Problem], statement: str) -> str:
    """The numbers of its parent, in figures or words."""
    return "" if same_quantities(parents[0].problem, statement) else "its numbers are not those of its parent"


OPERATION = Operation("reword", "the same problem in other words", keeps_answer=True, check=check)
