"""MuggleMath's first operation (Li et al. 2023, arXiv 2310.05506, table 1): change specific numbers."""

from collections.abc import Sequence

from mathloop.records import Problem
from mathloop.writing.operations.operation import Operation
from mathloop.writing.quantities import quantities


def check(parents: Sequence[Problem], statement: str) -> str:
    """Other numbers, and as many: a story with a number more or less is another problem."""
    before, after = quantities(parents[0].problem), quantities(statement)
    if before == after:
        return "its numbers are those of its parent"
    if before.total() != after.total():
        return "it has more or fewer numbers than its parent"
    return ""


OPERATION = Operation("change_numbers", "the same story with other numbers", check=check)
