"""Families of solutions: x = π/4 + kπ with k ∈ ℤ; and antiderivatives, which end in + C."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import permutations
from math import lcm
from typing import NamedTuple

from mathloop.answers.exact import variables
from mathloop.answers.expressions import constant_value
from mathloop.answers.names import named_value
from mathloop.answers.syntax import (
    MINUS_ONE,
    ONE,
    ZERO,
    Apply,
    Collection,
    Node,
    Number,
    Relation,
    Symbol,
    add,
    multiply,
    negate,
    rebuild,
    walk,
)

MOST_CONSTANTS = 3
"""Constants of one general solution: 3! ways to name them."""
MOST_MEMBERS = 60
"""Values in one common period."""
_INTEGERS = (Symbol("Z"), Symbol("mathbb Z"))
_CONSTANTS = ("C", "c", "K", "k")


class Progression(NamedTuple):
    """start + n · step for all integers n."""

    start: Node
    step: Node
    first: float
    gap: float


def solution_family(node: Node) -> list[Progression] | None:
    """The progressions of an answer that names its integer parameter; None for any other answer."""
    if not isinstance(node, Collection) or node.kind not in ("list", "sequence") or len(node.items) < 2:
        return None
    parameters: set[Node] = set()
    values: list[Node] = []
    for item in node.items:
        if isinstance(item, Relation) and item.operators == ("in",) and item.sides[1] in _INTEGERS:
            names = item.sides[0]
            parameters |= {names} if isinstance(names, Symbol) else set()
        else:
            values.append(item)
    if not parameters or not values:
        return None
    families = [_progression(value, parameters) for value in values]
    return [family for family in families if family] if all(families) else None


def _progression(node: Node, parameters: set[Node]) -> Progression | None:
    if isinstance(node, Relation):
        named = named_value(node)
        if named is None:
            return None
        node = named[1]
    if isinstance(node, Collection):
        return None
    inside = [parameter for parameter in parameters if _contains(node, parameter)]
    if len(inside) != 1:
        return None
    points = [rebuild(node, {inside[0]: Number(Fraction(number))}) for number in (0, 1, 2, 5)]
    values = [constant_value(point) for point in points]
    if any(value is None for value in values):
        return None
    first, second, third, last = (value or 0.0 for value in values)
    gap = second - first
    straight = abs(third - first - 2 * gap) < 1e-9 and abs(last - first - 5 * gap) < 1e-9
    if not straight or abs(gap) < 1e-9:
        return None
    return Progression(points[0], add(points[1], negate(points[0])), first, gap)


def _contains(node: Node, parameter: Node) -> bool:
    return isinstance(parameter, Symbol) and parameter.name in variables(node)


def same_family(
    left: list[Progression], right: list[Progression], same: Callable[[Node, Node], bool]
) -> bool:
    """Whether two unions of progressions are the same set: the same values in one common period."""
    everything = [*left, *right]
    unit = everything[0].gap
    ratios = [Fraction(each.gap / unit).limit_denominator(200) for each in everything]
    if any(
        abs(float(ratio) - each.gap / unit) > 1e-9 for ratio, each in zip(ratios, everything, strict=True)
    ):
        return False
    scale = lcm(*(ratio.denominator for ratio in ratios))
    period = Fraction(lcm(*(abs(int(ratio * scale)) for ratio in ratios)), scale)
    one = _members(left, ratios[: len(left)], period)
    other = _members(right, ratios[len(left) :], period)
    if one is None or other is None:
        return False
    length = abs(float(period) * unit)
    whole = multiply(Number(period), everything[0].step)
    return _covered(one, other, length, whole, same) and _covered(other, one, length, whole, same)


def _members(
    families: list[Progression], ratios: list[Fraction], period: Fraction
) -> list[tuple[Node, float]] | None:
    members: list[tuple[Node, float]] = []
    for family, ratio in zip(families, ratios, strict=True):
        count = abs(int(period / ratio))
        if count + len(members) > MOST_MEMBERS:
            return None
        for number in range(count):
            node = add(family.start, multiply(Number(Fraction(number)), family.step))
            members.append((node, family.first + number * family.gap))
    return members


def _covered(
    one: list[tuple[Node, float]],
    other: list[tuple[Node, float]],
    length: float,
    whole: Node,
    same: Callable[[Node, Node], bool],
) -> bool:
    """Whether every member is one of the others, but for a multiple of the common period."""
    for node, value in one:
        for candidate, number in other:
            turns = round((value - number) / length)
            if abs(value - number - turns * length) < 1e-9 * max(1.0, abs(value), length):
                sign = 1 if (constant_value(whole) or 0) > 0 else -1
                if same(node, add(candidate, multiply(Number(Fraction(sign * turns)), whole))):
                    break
        else:
            return False
    return True


def same_antiderivative(left: Node, right: Node, same: Callable[[Node, Node], bool]) -> bool | None:
    """Whether two functions that both end in + C differ by a constant; None if one does not."""
    one, other = _without_constant(left), _without_constant(right)
    if one is None or other is None or "C" not in (one[1], other[1]):
        return None
    names = variables(one[0]) | variables(other[0])
    if len(names) != 1 or "function" in names or names & {one[1], other[1]}:
        return None
    (name,) = names
    difference = add(one[0], multiply(MINUS_ONE, other[0]))
    for point in (Fraction(7, 5), Fraction(3), ZERO.value, ONE.value):
        fixed = rebuild(difference, {Symbol(name): Number(point)})
        if constant_value(fixed) is not None:
            return same(one[0], add(other[0], fixed))
    return None


def _without_constant(node: Node) -> tuple[Node, str] | None:
    """The function and the name of the constant that is added to it."""
    if not isinstance(node, Apply) or node.operation != "add":
        return None
    for term in node.arguments:
        if isinstance(term, Symbol) and term.name in _CONSTANTS:
            rest = [each for each in node.arguments if each is not term]
            function = add(*rest)
            if term.name not in variables(function) and variables(function):
                return function, term.name
    return None


def with_constants(left: Node, right: Node) -> Iterator[Node]:
    """The right node, and with its arbitrary constants named as the left one's, in every way.

    That is for general solutions, C_1 e^x + C_2 e^{-x}: sums of functions of one variable with constants as
    coefficients.
    """
    yield right
    ours = _coefficients(left)
    theirs = _coefficients(right) if ours else None
    if not ours or not theirs or len(ours) != len(theirs) or len(ours) > MOST_CONSTANTS:
        return
    if not any(map(_is_arbitrary, ours)) and not any(map(_is_arbitrary, theirs)):
        return
    names = [
        variables(rebuild(node, dict.fromkeys(constants, ONE)))
        for node, constants in ((left, ours), (right, theirs))
    ]
    if names[0] != names[1] or len(names[0]) != 1 or not min(names[0]).islower():
        return
    ways = (dict(zip(theirs, order, strict=True)) for order in permutations(ours))
    yield from (rebuild(right, way) for way in ways if any(old != new for old, new in way.items()))


def _coefficients(node: Node) -> list[Node] | None:
    """The constants that a node is linear in, in order; None if one of them is elsewhere or occurs twice."""
    if isinstance(node, Number):
        return []
    if _is_constant(node):
        return [node]
    if isinstance(node, Symbol):
        return []
    if isinstance(node, Apply) and node.operation in ("add", "mul"):
        found = [_coefficients(part) for part in node.arguments]
        constants = [constant for each in found for constant in each or ()]
        return None if None in found or len(set(constants)) < len(constants) else constants
    return None if any(map(_is_constant, walk(node))) else []


def _is_constant(node: Node) -> bool:
    return _is_arbitrary(node) or node in (Symbol("A"), Symbol("B"))


def _is_arbitrary(node: Node) -> bool:
    match node:
        case Symbol("C"):
            return True
        case Apply("index", (Symbol("C" | "c"), Number())):
            return True
    return False
