"""MuggleMath's fourth operation: include a conditional statement."""

from collections.abc import Sequence

from mathloop.records import Problem
from mathloop.writing.operations.operation import Operation
from mathloop.writing.quantities import quantities


def check(parents: Sequence[Problem], statement: str) -> str:
    """A number or a clause more than its parent."""
    before, after = parents[0].problem, statement
    if quantities(after).total() <= quantities(before).total() and len(after) <= 1.1 * len(before):
        return "no condition was added"
    return ""


OPERATION = Operation("add_condition", "a further condition", check=check)
