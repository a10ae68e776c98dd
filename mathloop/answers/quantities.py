"""Equality of quantities: values with a unit, a currency or a noun."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from mathloop.answers.expressions import constant_value
from mathloop.answers.nouns import droppable, folded, same_noun
from mathloop.answers.simplification import (
    letters_as_unit,
    times,
)
from mathloop.answers.syntax import (
    Apply,
    Node,
    Number,
    Quantity,
    Symbol,
    multiply,
    walk,
)
from mathloop.answers.units import SINGLE, scale

_OF_ANGLES = frozenset(("arcsin", "arccos", "arctan"))


def same_quantities(left: Node, right: Node, same: Callable[[Node, Node], bool]) -> bool:
    """Whether two answers are equal of which at least one has a unit or a noun."""
    if not isinstance(left, Quantity):
        left, right = right, left
    assert isinstance(left, Quantity)
    size = scale(left.unit)
    if isinstance(right, Quantity):
        other = scale(right.unit)
        if size and other and {size[0], other[0]} == {"angle", "radian"}:
            degrees, radians = (left, right) if size[0] == "angle" else (right, left)
            half_turns = times(degrees.value, Fraction(1, 180))
            return same(multiply(half_turns, Symbol("pi")), radians.value)
        if size and other and {size[0], other[0]} == {"mass", "sterling"}:
            pounds = {folded(left.unit), folded(right.unit)} == {"£", "pound"}
            return pounds and same(left.value, right.value)
        if size and other:
            return size[0] == other[0] and same(times(left.value, size[1]), times(right.value, other[1]))
        return not size and not other and same_noun(left.unit, right.unit) and same(left.value, right.value)
    named = left.unit.isascii() and _is_letter(left.value)
    if not size and (named or not droppable(left.unit)):
        return False
    if size and size[0] == "percent":
        if same(times(left.value, size[1] / 100), right):
            return True
        value = constant_value(right)  # 15 may mean 15 %, but 0.98 does not mean 0.98 %
        return size[1] == 1 and value is not None and abs(value) > 1 and same(left.value, right)
    if left.unit not in SINGLE and same(left.value, right):
        return True
    if size and isinstance(right, Symbol) and right.name.startswith("time "):  # 3时 and 3:00
        hours, _, minutes = right.name.removeprefix("time ").partition(":")
        passed = Number(Fraction(60 * int(hours) + int(minutes)))
        whole = minutes == "00" and left.unit == "时"
        return whole and same(times(left.value, size[1] / 60), passed)
    with_unit = letters_as_unit(right) if size else None
    if with_unit is not None and scale(with_unit.unit):
        return same(left, with_unit)
    if size and size[0] == "angle" and any(map(_in_radians, walk(right))):
        return same(multiply(times(left.value, Fraction(1, 180)), Symbol("pi")), right)
    return False


def _is_letter(node: Node) -> bool:
    """Whether it is a letter that names a thing, so that a noun after it is no unit: A triangle."""
    return isinstance(node, Symbol) and len(node.name) == 1 and node.name.isupper()


def _in_radians(node: Node) -> bool:
    """Whether a part of a value says that it is in radians: π, or the inverse of a function of angles."""
    return node == Symbol("pi") or (isinstance(node, Apply) and node.operation in _OF_ANGLES)
