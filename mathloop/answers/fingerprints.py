"""Fingerprints of expressions and equations: equal marks are equal, and most different ones are different.

A mark is made of exact values at fixed points (`exact.py`). Roots, sines and the like have formal values
there: equal marks still prove equality, different ones prove nothing. Such parts are open: `may_be_equal`
refutes most pairs by their values in floats, and `proved_equal` decides one that is left.

Everything but a proof is bounded in steps and bits, never in seconds. Only what floats can evaluate within
these bounds is open, so that a proof is short as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from typing import Any, Literal

from mathloop.answers import deadline
from mathloop.answers.approximate import Approximate
from mathloop.answers.deadline import Undecided
from mathloop.answers.equivalence import Comparison
from mathloop.answers.exact import Exact, TooBig, Undefined, needs_integers, variables
from mathloop.answers.expressions import (
    FLOAT_POINTS,
    FLOATS,
    FORMAL_POINTS,
    INTEGER_POINTS,
    clearly_different,
    steps,
)
from mathloop.answers.prover import SECONDS_PER_VERDICT, Prover
from mathloop.answers.settling import has_quotient, is_rational
from mathloop.answers.syntax import Collection, Node, Quantity, Relation, Symbol, Text, add, negate, walk

MOST_STEPS = 1000
"""Operations to evaluate an expression once."""
MOST_BITS = 2000
"""Size of a number that is calculated with further."""
FEWEST_INTEGERS = 5
"""Integers at which an expression of integers must be defined."""
NO_ROUNDING = 1 << 30
"""Decimal places that a number must give to pass for a rounded value: none ever does."""

_MISFORTUNES = (Undefined, TooBig, ArithmeticError, ValueError)


@dataclass(frozen=True, slots=True)
class Part:
    """One expression or equation of an answer."""

    mark: str
    standing: Literal["exact", "open", "closed"]
    """Exact parts are equal if their marks are, and only then; open ones may be equal in spite of different
    marks; closed ones count as equal only if their marks are."""
    node: Node
    values: tuple[complex | None, ...] | None = None
    """Floats at fixed points: 1 of a constant, 5 of an expression, 8 of one of integers. None of an open part
    means that its values refute nothing."""


def expression_part(node: Node) -> Part:
    """The fingerprint of an expression."""
    if any(part == Symbol("oo") or not _is_plain(part) for part in walk(node)):
        return _closed(node)
    integer = needs_integers(node) and bool(variables(node))
    found = _exactly(node, integer)
    if found is None:
        return _closed(node)
    marks, exact = found
    stepped = steps(node)  # random points say little
    if exact and not integer and not stepped:
        return Part(_joined(marks), "exact", node, _in_floats(node, integer))
    values = _in_floats(node, integer)
    if all(value is None for value in values):
        return _closed(node) if stepped else Part(_joined(marks), "closed", node)
    kind = "integers" if integer else ""
    return Part(_tree(node) if stepped else kind + _joined(marks), "open", node, values)


def relation_part(relation: Relation) -> Part:
    """The fingerprint of an equation or inequality of two sides: of their difference, but for a factor.

    The factor is positive for an inequality, any but 0 for an equation or ≠.
    """
    difference = add(relation.sides[0], negate(relation.sides[1]))
    if any(part == Symbol("oo") or not _is_plain(part) for part in walk(difference)):
        return _closed(relation)
    signed = relation.operators[0] in ("<", "<=")
    integer = needs_integers(difference)
    found = _exactly(difference, integer)
    if found is None or None in found[0] or not found[0][0] or steps(difference):
        return _closed(relation)
    exact_values = [value for value in found[0] if value is not None]
    factor = abs(exact_values[0]) if signed else exact_values[0]
    mark = ("integers" if integer else "") + _joined([value / factor for value in exact_values])
    if not signed and is_rational(difference) and has_quotient(difference):
        return Part(mark, "open", relation)
    values = _in_floats(difference, integer)
    if values[0] is None or not values[0]:
        return Part(mark, "closed", relation)
    scale = abs(values[0]) if signed else values[0]
    scaled = tuple(None if value is None else value / scale for value in values)
    return Part(mark, "exact" if found[1] and not integer else "open", relation, scaled)


def infinity_part(node: Node) -> Part:
    """∞ or −∞, equal to itself alone."""
    return Part("oo" if node == Symbol("oo") else "-oo", "closed", node)


def may_be_equal(one: Part, other: Part) -> bool:
    """Whether two parts with different marks are left to a proof."""
    if "closed" in (one.standing, other.standing) or one.standing == other.standing == "exact":
        return False
    if one.values is None or other.values is None:
        return True
    values = _side_by_side(one.values, other.values)
    constant = len(values) == 1
    return not any(
        left is not None
        and right is not None
        and (constant or _is_real(left) or _is_real(right))
        and clearly_different(left, right, relative=1e-7, absolute=1e-11)
        for left, right in values
    )


def proved_equal(one: Part, other: Part) -> bool:
    """Whether the verifier proves two parts equal, without any leniency; undecided is not equal."""
    deadline.start(SECONDS_PER_VERDICT)  # of a worker that hangs; what reaches it is small
    try:
        return Comparison(NO_ROUNDING, Prover()).same(one.node, other.node)
    except (Undecided, RecursionError, ArithmeticError, ValueError):
        return False
    finally:
        deadline.stop()


class _BriefExact(Exact):
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


class _BriefFloats(Approximate):
    """Floats within `MOST_STEPS`; a logarithm without a base is natural."""

    def value(self, node: Node) -> Any:
        if self._steps >= MOST_STEPS:
            raise TooBig
        return super().value(node)


def _exactly(node: Node, integer: bool) -> tuple[list[Fraction | None], bool] | None:
    """Values at the fixed points, and whether all are exact; None where they cannot be computed.

    An expression of integers may be undefined at some of them.
    """
    constant = not variables(node)
    points = FORMAL_POINTS[:1] if constant else INTEGER_POINTS if integer else FORMAL_POINTS
    found: list[Fraction | None] = []
    exact = True
    for point in points:
        evaluator = _BriefExact(point, integer)
        try:
            found.append(evaluator.value(node))
        except Undefined:
            found.append(None)
        except _MISFORTUNES:
            return None
        exact = exact and not evaluator.formal
    defined = sum(value is not None for value in found)
    if defined < (FEWEST_INTEGERS if integer and not constant else len(points)):
        return None
    return found, exact


def _in_floats(node: Node, integer: bool) -> tuple[complex | None, ...]:
    if not variables(node):
        points: Sequence[int] = FLOAT_POINTS[:1]
    else:
        points = INTEGER_POINTS[:8] if integer else FLOAT_POINTS
    found: list[complex | None] = []
    for point in points:
        try:
            value = complex(_BriefFloats(FLOATS, point, integer=integer).value(node))
        except _MISFORTUNES:
            found.append(None)
        else:
            found.append(value if math.isfinite(value.real) and math.isfinite(value.imag) else None)
    return tuple(found)


def _side_by_side(
    one: tuple[complex | None, ...], other: tuple[complex | None, ...]
) -> list[tuple[complex | None, complex | None]]:
    """Values at the same points; a constant's one value counts at each, other points are not compared."""
    if len(one) == 1 or len(other) == 1:
        longest = max(len(one), len(other))
        one, other = one * (longest // len(one)), other * (longest // len(other))
    return list(zip(one, other, strict=True)) if len(one) == len(other) else []


def _joined(values: Sequence[Fraction | None]) -> str:
    """One text for values at points; what has the same value everywhere is that constant."""
    distinct = values[:1] if len(set(values)) == 1 else values
    text = " ".join("-" if v is None else f"{v.numerator:x}/{v.denominator:x}" for v in distinct)
    return text if len(text) <= 80 else _digest(text)


def _closed(node: Node) -> Part:
    return Part(_tree(node), "closed", node)


def _tree(node: Node) -> str:
    return "tree " + _digest(repr(node))


def _digest(text: str) -> str:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _is_plain(node: Node) -> bool:
    return not isinstance(node, Collection | Quantity | Relation | Text)


def _is_long(value: Fraction) -> bool:
    return value.numerator.bit_length() + value.denominator.bit_length() > MOST_BITS


def _is_real(value: complex) -> bool:
    return abs(value.imag) <= 1e-9 * abs(value.real)
