"""Decimals that are another number, rounded or truncated."""

from __future__ import annotations

import math

from mathloop.answers.expressions import constant_value
from mathloop.answers.syntax import Node, Number


def are_exact(*nodes: Node) -> bool:
    """Whether all are numbers written without a decimal point, which are equal only if their values are."""
    return all(isinstance(node, Number) and not node.places for node in nodes)


def rounded(decimal: Number, exact: Node, places: int) -> bool:
    """Whether a decimal is another constant's value, truncated or rounded to all of its places.

    The other must have no finite decimal expansion, and the decimal at least `places` places and digits:
    0.333333 is 1/3, but 0.33 isn't, and 5.000001 isn't 5.
    """
    digits = len(str(abs(decimal.value.numerator))) if decimal.value.numerator.bit_length() < 1000 else 0
    if decimal.places < places or digits < places:
        return False
    if isinstance(exact, Number):
        rest = exact.value.denominator
        for prime in (2, 5):
            while rest % prime == 0:
                rest //= prime
        left_over = float((exact.value - decimal.value) * 10**decimal.places)
        return rest > 1 and _as_rounded(left_over, decimal.value < 0)
    value = constant_value(exact)
    if value is None or not math.isfinite(value):
        return False
    noise = 4e-16 * abs(value) * 10.0**decimal.places
    gap = (value - float(decimal.value)) * 10.0**decimal.places
    return _as_rounded(gap, decimal.value < 0, noise) and abs(value - round(value)) > 10.0**-decimal.places


def _as_rounded(gap: float, negative: bool, noise: float = 0.0) -> bool:
    """Whether exact − decimal, in units of the last place, fits rounding or truncation."""
    if abs(gap) <= 0.5 + noise:
        return True
    return -1.0 < gap < 0 if negative else 0 < gap < 1.0
