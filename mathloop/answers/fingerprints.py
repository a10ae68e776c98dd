"""Fingerprints of expressions and equations: equal marks are equal, and most different ones are different.

A mark is made of exact values at fixed points (`exact.py`). Roots, sines and the like have formal values
there: equal marks still prove equality, different ones prove nothing. Such parts are open: `may_be_equal`
refutes most pairs by their values in floats, and `proved_equal` decides one that is left.

Everything but a proof is bounded in steps and bits, never in seconds. Only what floats can evaluate within
these bounds is open, so that a proof is short as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b
from typing import Literal

from mathloop.answers import deadline
from mathloop.answers.bounded import EVALUATION_ERRORS, BoundedExact, exact_values, float_values
from mathloop.answers.deadline import Undecided
from mathloop.answers.equivalence import Comparison
from mathloop.answers.exact import needs_integers, variables
from mathloop.answers.expressions import FORMAL_POINTS, clearly_different, has_steps
from mathloop.answers.prover import SECONDS_PER_VERDICT, Prover
from mathloop.answers.syntax import (
    ONE,
    ZERO,
    Apply,
    Collection,
    Node,
    Quantity,
    Relation,
    Symbol,
    Text,
    add,
    divide,
    negate,
    rebuild,
    walk,
)

NO_ROUNDING = 1 << 30
"""Decimal places that a number must give to pass for a rounded value: none ever does."""


@dataclass(frozen=True, slots=True)
class Part:
    """One expression or equation of an answer."""

    mark: str
    status: Literal["exact", "open", "closed"]
    """Exact parts are equal if their marks are, and only then; open ones may be equal in spite of different
    marks; closed ones count as equal only if their marks are."""
    node: Node
    values: tuple[complex | None, ...] = ()
    """Floats at fixed points: 1 of a constant, 5 of an expression, 8 of one of integers; none where that is
    too long."""


def expression_part(node: Node) -> Part:
    """The fingerprint of an expression."""
    if any(part == Symbol("oo") or not _is_plain(part) for part in walk(node)):
        return _closed(node)
    integer = needs_integers(node) and bool(variables(node))
    evaluated = exact_values(node, integer)
    if evaluated is None:
        return _closed(node)
    marks, exact = evaluated
    stepped = has_steps(node)  # random points say little
    if exact and not integer and not stepped:
        return Part(_joined(marks), "exact", node, float_values(node, integer))
    values = float_values(node, integer)
    if all(value is None for value in values):
        return _closed(node) if stepped else Part(_joined(marks), "closed", node)
    kind = "integers" if integer else ""
    return Part(_tree(node) if stepped else kind + _joined(marks), "open", node, values)


def relation_part(relation: Relation) -> Part:
    """The fingerprint of an equation or inequality of two sides: of their difference, but for a factor.

    The factor is positive for an inequality, any but 0 for an equation or ≠.
    """
    difference = add(relation.sides[0], negate(relation.sides[1]))
    if not variables(difference) or any(
        part == Symbol("oo") or not _is_plain(part) for part in walk(difference)
    ):
        return _closed(relation)
    signed = relation.operators[0] in ("<", "<=")
    integer = needs_integers(difference)
    evaluated = exact_values(difference, integer)
    if evaluated is None or None in evaluated[0] or not evaluated[0][0] or has_steps(difference):
        return _closed(relation)
    known = [value for value in evaluated[0] if value is not None]
    factor = abs(known[0]) if signed else known[0]
    mark = ("integers" if integer else "") + _joined([value / factor for value in known])
    values = float_values(difference, integer)
    if not any(values[:1]):
        return Part(mark, "closed", relation)
    first = values[0] or 1
    scale = abs(first) if signed else first
    scaled = tuple(None if value is None else value / scale for value in values)
    return Part(mark, "exact" if evaluated[1] and not integer else "open", relation, scaled)


def solve(relation: Relation) -> tuple[Symbol, Node] | None:
    """An equation as y, or its only variable, and its value; None where it does not mean the same.

    It is linear in that variable, and no factor that may be zero is divided away: xy = 6, but not xy = x.
    """
    difference = add(relation.sides[0], negate(relation.sides[1]))
    free = variables(difference)
    name = "y" if "y" in free else next(iter(free), "")
    if (name != "y" and len(free) != 1) or "function" in free or not all(map(_is_plain, walk(difference))):
        return None
    offsets, slopes = set(), set()
    try:
        for point in FORMAL_POINTS:
            at_0, at_1, at_3 = (_at(difference, name, value, point) for value in (0, 1, 3))
            if at_3 - at_0 != 3 * (at_1 - at_0):
                return None
            offsets.add(at_0)
            slopes.add(at_1 - at_0)
    except EVALUATION_ERRORS:
        return None
    if 0 in slopes or (len(slopes) > 1 and (len(offsets) > 1 or 0 in offsets)):
        return None
    unknown = Symbol(name)
    offset, one_up = (rebuild(difference, {unknown: number}) for number in (ZERO, ONE))
    return unknown, divide(negate(offset), add(one_up, negate(offset)))


def _at(node: Node, name: str, value: int, point: int) -> Fraction:
    evaluator = BoundedExact(point)
    evaluator.bound = {name: Fraction(value)}
    return evaluator.value(node)


def needs_base(node: Node) -> bool:
    """Whether the value depends on the base that a logarithm without one is meant to have."""
    if not any(
        isinstance(part, Apply) and part.operation == "log" and len(part.arguments) == 1
        for part in walk(node)
    ):
        return False
    natural, decimal = (
        float_values(node, needs_integers(node), decimal_log=decimal) for decimal in (False, True)
    )
    return not natural or any(
        one is None or other is None or clearly_different(one, other, relative=1e-9, absolute=1e-11)
        for one, other in zip(natural, decimal, strict=False)
    )


def infinity_part(node: Node) -> Part:
    """∞ or −∞, equal to itself alone."""
    return Part("oo" if node == Symbol("oo") else "-oo", "closed", node)


def may_be_equal(one: Part, other: Part) -> bool:
    """Whether two parts with different marks are left to a proof."""
    if "closed" in (one.status, other.status) or one.status == other.status == "exact":
        return False
    if not one.values or not other.values:
        return False
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
    return text if len(text) <= 80 else digest(text)


def _closed(node: Node) -> Part:
    return Part(_tree(node), "closed", node)


def _tree(node: Node) -> str:
    return "tree " + digest(repr(node))


def digest(text: str) -> str:
    """A short text that equal texts share."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _is_plain(node: Node) -> bool:
    return not isinstance(node, Collection | Quantity | Relation | Text)


def _is_real(value: complex) -> bool:
    return abs(value.imag) <= 1e-9 * abs(value.real)
