"""MuggleMath's third operation: combine multiple concepts, here those of two problems."""

from collections.abc import Sequence

from mathloop.records import Problem
from mathloop.writing.operations.operation import Operation
from mathloop.writing.quantities import content_words


def check(parents: Sequence[Problem], statement: str) -> str:
    """Words of both parents that the other one does not have."""
    words = content_words(statement)
    first, second = (content_words(parent.problem) for parent in parents)
    for own, other in ((first, second), (second, first)):
        if own - other and not words & (own - other):
            return "it takes nothing from one of its parents"
    return ""


OPERATION = Operation("combine_concepts", "one problem out of two", fields=("problem", "second"), check=check)
