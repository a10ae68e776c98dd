"""Equality of two expressions: decided exactly if possible, else refuted by floats or proved by a worker."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from mathloop.answers.approximate import Approximate, Floats
from mathloop.answers.exact import Exact, TooBig, Undefined, needs_integers, variables
from mathloop.answers.prover import Prover
from mathloop.answers.syntax import Apply, Node, Number, Symbol, ordered, walk

FORMAL_POINTS = (0, 2, 3)
INTEGER_POINTS = tuple(range(4, 16))
FLOAT_POINTS = (0, 2, 3, 4, 5)
FLOATS = Floats()


class _RealFloats(Floats):
    """Floats whose even roots of negative numbers are undefined: √(xy) = √x·√y where the roots are real."""

    def power(self, base: complex, exponent: complex) -> complex:
        if base.real < 0 and (exponent.imag or exponent.real != int(exponent.real)):
            raise Undefined
        return super().power(base, exponent)


REAL_FLOATS = _RealFloats()
_EVALUATION_ERRORS = (Undefined, TooBig, ArithmeticError, ValueError)


_INFINITIES = (Symbol("oo"), Apply("mul", (Number(Fraction(-1)), Symbol("oo"))))


def equal_expressions(left: Node, right: Node, prover: Prover) -> bool:
    """Whether two expressions are equal wherever they are defined.

    Raises `Undecided` if that cannot be decided before the deadline.
    """
    if left == right:
        return True
    if any(node == Symbol("oo") for side in (left, right) for node in walk(side)):
        return constant_value(left) == constant_value(right) and left in _INFINITIES and right in _INFINITIES
    integer = needs_integers(left) or needs_integers(right)
    if (has_steps(left) or has_steps(right)) and _differ_at_probes(left, right):
        return False
    if integer and variables(left) | variables(right):
        decided = _at_integers(left, right)
        if decided is not None:
            return decided
    else:
        decided = _formally(left, right)
        if decided is not None:
            return decided
    if _refuted(left, right, integer):
        return False
    return prover.prove("expressions", left, right, integer)


_STEPPED = frozenset(("floor", "ceil", "max", "min", "abs", "gcd", "lcm"))
_FAR = (-2013, 2), (-417, 10), (-20, 1), (199, 200), (399, 200), (-1, 200), (1, 200), (20003, 20)
_PROBES = (
    *(Fraction(half, 2) for half in range(-13, 14)),
    *map(Fraction, range(7, 131)),
    *(Fraction(top, bottom) for top, bottom in _FAR),
)
"""Where steps and sign changes are likely: small halves, integers, just below integers, large values."""


def has_steps(node: Node) -> bool:
    """Whether a variable is inside a step, absolute value or even root, where random points prove little."""
    for part in walk(node):
        match part:
            case Apply("pow", (base, Number(exponent, _))) if exponent.denominator % 2 == 0:
                if variables(base):
                    return True
            case Apply(operation, _) if operation in _STEPPED and variables(part):
                return True
    return False


def _differ_at_probes(left: Node, right: Node) -> bool:
    """Whether the two differ at one of the probes where both are real."""
    names = sorted(variables(left) | variables(right))
    for probe in _PROBES:
        for sign in (1, -1) if len(names) > 1 else (1,):
            values = _real_values(
                left, right, {name: (probe + 3 * place) * sign**place for place, name in enumerate(names)}
            )
            if values and clearly_different(*values, relative=1e-7, absolute=1e-9):
                return True
    return False


def _real_values(left: Node, right: Node, bound: dict[str, Fraction]) -> tuple[Any, Any] | None:
    """Both values for these values of the variables; None if either is not real or not defined."""
    values = []
    for side in (left, right):
        evaluator = Approximate(REAL_FLOATS, 0, integer=False)
        evaluator.bound = dict(bound)  # copied, since a sum adds its index to it
        try:
            values.append(evaluator.value(side))
        except _EVALUATION_ERRORS:
            return None
    return values[0], values[1]


def _ratio_varies(left: Node, right: Node) -> bool:
    """Whether left/right differs between two probes where both are real."""
    names = variables(left) | variables(right)
    ratio: complex | None = None
    for probe in _PROBES:
        values = _real_values(
            left, right, {name: probe + 3 * place for place, name in enumerate(sorted(names))}
        )
        if not values or abs(values[1]) < 1e-9 or not cmath_finite(values[0] / values[1]):
            continue
        here = values[0] / values[1]
        if ratio is not None and abs(here - ratio) > 1e-7 * max(abs(ratio), 1e-9):
            return True
        ratio = here
    return False


def proportional(left: Node, right: Node, prover: Prover) -> bool | None:
    """Whether left = c·right for a constant c ≠ 0: True if c > 0, False if c < 0, None if not proportional.

    Callers must compare with None, since False also means proportional.
    """
    if (has_steps(left) or has_steps(right)) and _ratio_varies(left, right):
        return None
    ratio: Fraction | None = None
    integer = needs_integers(left) or needs_integers(right)
    try:
        for point in FORMAL_POINTS if not integer else INTEGER_POINTS[:5]:
            evaluator = Exact(point, integer)
            above, below = evaluator.value(left), evaluator.value(right)
            if evaluator.formal:
                break
            if not below or not above:
                if above or below:
                    return None
                continue
            if ratio is not None and above / below != ratio:
                return None
            ratio = above / below
        else:
            return None if ratio is None else ratio > 0
    except _EVALUATION_ERRORS:
        pass
    return _proportional_in_floats(left, right, integer, prover)


def _proportional_in_floats(left: Node, right: Node, integer: bool, prover: Prover) -> bool | None:
    ratio: complex | None = None
    for point in FLOAT_POINTS if not integer else INTEGER_POINTS[:5]:
        try:
            above = Approximate(FLOATS, point, integer=integer).value(left)
            below = Approximate(FLOATS, point, integer=integer).value(right)
            here = above / below
        except _EVALUATION_ERRORS:
            continue
        if not cmath_finite(here):
            continue
        if ratio is not None and abs(here - ratio) > 1e-7 * abs(ratio):
            return None
        ratio = here
    if ratio is None or abs(ratio.imag) > 1e-9 * abs(ratio) or ratio == 0:
        return None
    return ratio.real > 0 if prover.prove("proportional", left, right, integer) else None


def linear(node: Node) -> tuple[Fraction, Fraction] | None:
    """(a, b) of a·x + b in the node's only variable, with rational a ≠ 0; None for any other node."""
    names = variables(node)
    if len(names) != 1:
        return None
    values = []
    for number in (0, 1, 3, 10):
        evaluator = Exact(0)
        evaluator.bound = dict.fromkeys(names, Fraction(number))
        try:
            values.append(evaluator.value(node))
        except _EVALUATION_ERRORS:
            return None
        if evaluator.formal:
            return None
    offset, slope = values[0], values[1] - values[0]
    straight = values[2] == 3 * slope + offset and values[3] == 10 * slope + offset
    return (slope, offset) if slope and straight else None


def constant_value(node: Node) -> float | None:
    """The real value of an expression without variables, as a float, possibly infinite; else None."""
    if node == Symbol("oo"):
        return math.inf
    if node == Apply("mul", (Number(Fraction(-1)), Symbol("oo"))):
        return -math.inf
    if variables(node):
        return None
    try:
        value = Approximate(FLOATS, 0, integer=False).value(node)
    except _EVALUATION_ERRORS:
        return None
    return float(value.real) if abs(value.imag) <= 1e-12 * max(1.0, abs(value.real)) else None


def cmath_finite(value: complex) -> bool:
    """Whether both parts are finite."""
    return math.isfinite(value.real) and math.isfinite(value.imag)


def _formally(left: Node, right: Node) -> bool | None:
    """True or False if exact values decide, else None."""
    points = FORMAL_POINTS if variables(left) | variables(right) else FORMAL_POINTS[:1]
    try:
        for point in points:
            one, other = Exact(point), Exact(point)
            if one.value(left) != other.value(right):
                return None if one.formal or other.formal else False
    except _EVALUATION_ERRORS:
        return None
    return True


def _at_integers(left: Node, right: Node) -> bool | None:
    """Like `_formally`, at integers where both are defined; at one if only the order of operands differs."""
    seen = 0
    needed = 1 if ordered(left) == ordered(right) else 5
    for point in INTEGER_POINTS:
        one, other = Exact(point, integer=True), Exact(point, integer=True)
        try:
            values = one.value(left), other.value(right)
        except Undefined:
            continue
        except _EVALUATION_ERRORS:
            return None
        if values[0] != values[1]:
            return None if one.formal or other.formal else False
        seen += 1
        if needed == 1:
            break
    return True if seen >= needed else None


def _refuted(left: Node, right: Node, integer: bool) -> bool:
    """Whether floats differ clearly at a point where either is real, for both meanings of `log`."""
    ambiguous = any(
        isinstance(node, Apply) and node.operation == "log" for side in (left, right) for node in walk(side)
    )
    return all(
        _differ(left, right, integer, decimal_log)
        for decimal_log in ((False, True) if ambiguous else (False,))
    )


def _differ(left: Node, right: Node, integer: bool, decimal_log: bool) -> bool:
    constant = not (variables(left) | variables(right))
    for point in FLOAT_POINTS[:1] if constant else INTEGER_POINTS[:8] if integer else FLOAT_POINTS:
        try:
            one = Approximate(FLOATS, point, integer=integer, decimal_log=decimal_log).value(left)
            other = Approximate(FLOATS, point, integer=integer, decimal_log=decimal_log).value(right)
        except _EVALUATION_ERRORS:
            continue
        if clearly_different(one, other, relative=1e-7, absolute=1e-11) and (
            constant or _real(one) or _real(other)
        ):
            return True
    return False


def clearly_different(one: Any, other: Any, *, relative: float, absolute: float) -> bool:
    """Whether two computed values differ by more than rounding errors; never true for NaN and infinity."""
    gap = abs(one - other)
    return bool(math.isfinite(gap) and gap > relative * max(abs(one), abs(other)) and gap > absolute)


def _real(value: complex) -> bool:
    return abs(value.imag) <= 1e-9 * abs(value.real)
