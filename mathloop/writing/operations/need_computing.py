"""For TIR: a problem whose answer takes a computation that is too long by hand."""

from collections.abc import Sequence

from mathloop.records import Problem
from mathloop.writing.operations.operation import Operation
from mathloop.writing.quantities import quantities


def check(parents: Sequence[Problem], statement: str) -> str:
    """Larger or more numbers than its parent."""
    before, after = quantities(parents[0].problem), quantities(statement)
    digits = [sum(len(number) for number in numbers.elements()) for numbers in (before, after)]
    return "" if digits[1] > digits[0] else "its numbers are no larger than those of its parent"


OPERATION = Operation("need_computing", "a computation that is too long by hand, for TIR", check=check)
