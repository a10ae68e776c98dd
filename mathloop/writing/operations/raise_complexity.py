"""MuggleMath's fifth operation: increase complexity, so that the problem takes more steps."""

from mathloop.writing.operations.operation import Operation

OPERATION = Operation("raise_complexity", "more steps to the answer")
