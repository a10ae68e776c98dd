"""Values of expressions within bounds of steps and bits, so that no answer takes long on any machine."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from mathloop.answers.approximate import Approximate
from mathloop.answers.exact import Exact, TooBig, Undefined, variables
from mathloop.answers.expressions import FLOAT_POINTS, FLOATS, FORMAL_POINTS, INTEGER_POINTS
from mathloop.answers.syntax import Node

MOST_STEPS = 1000
"""Operations to evaluate an expression once, exactly."""
MOST_FLOAT_STEPS = 200
"""Operations to evaluate an expression once in floats; a proof evaluates it some hundred times."""
MOST_BITS = 8000
"""Size of a number that is calculated with further."""
FEWEST_INTEGERS = 5
"""Integers at which an expression of integers must be defined."""
LARGEST_FLOAT = 1e100
"""A larger value refutes nothing; NaN is none either."""

EVALUATION_ERRORS = (Undefined, TooBig, ArithmeticError, ValueError)
"""An expression has no value, or none within the bounds."""


class BoundedExact(Exact):
    """Exact values within `MOST_STEPS` and `MOST_BITS`."""

    def value(self, node: Node) -> Fraction:
        if self._steps >= MOST_STEPS:
            raise TooBig
        return super().value(node)

    def _applied(self, operation: str, values: list[Fraction]) -> Fraction:
        if any(map(_is_long, values)):
            raise TooBig
        return super()._applied(operation, values)

    def _small(self, value: Fraction) -> Fraction:
        if _is_long(value):
            raise TooBig
        return value


class _TooLong(Exception):
    """An evaluation in floats takes too many steps."""


class _BoundedFloats(Approximate):
    """Floats within `MOST_FLOAT_STEPS`."""

    def value(self, node: Node) -> Any:
        if self._steps >= MOST_FLOAT_STEPS:
            raise _TooLong
        return super().value(node)


def exact_values(node: Node, integer: bool) -> tuple[list[Fraction | None], bool] | None:
    """Values at the fixed points, and whether all are exact; None where they cannot be computed.

    An expression of integers may be undefined at some of them.
    """
    constant = not variables(node)
    points = FORMAL_POINTS[:1] if constant else INTEGER_POINTS if integer else FORMAL_POINTS
    values: list[Fraction | None] = []
    exact = True
    for point in points:
        evaluator = BoundedExact(point, integer)
        try:
            values.append(evaluator.value(node))
        except Undefined:
            values.append(None)
        except EVALUATION_ERRORS:
            return None
        exact = exact and not evaluator.formal
    defined = sum(value is not None for value in values)
    if defined < (FEWEST_INTEGERS if integer and not constant else len(points)):
        return None
    return values, exact


def float_values(node: Node, integer: bool, *, decimal_log: bool = False) -> tuple[complex | None, ...]:
    """Values at fixed points, None where there is no finite one; no points where that takes too long.

    A logarithm without a base is natural unless `decimal_log`.
    """
    if not variables(node):
        points: Sequence[int] = FLOAT_POINTS[:1]
    else:
        points = INTEGER_POINTS[:8] if integer else FLOAT_POINTS
    values: list[complex | None] = []
    for point in points:
        try:
            evaluator = _BoundedFloats(FLOATS, point, integer=integer, decimal_log=decimal_log)
            value = complex(evaluator.value(node))
        except EVALUATION_ERRORS:
            values.append(None)
        except _TooLong:
            return ()
        else:
            small = abs(value.real) < LARGEST_FLOAT and abs(value.imag) < LARGEST_FLOAT
            values.append(value if small else None)
    return tuple(values)


def _is_long(value: Fraction) -> bool:
    return value.numerator.bit_length() + value.denominator.bit_length() > MOST_BITS
