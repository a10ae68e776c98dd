"""The syntax tree of an answer: expressions (`Number`, `Symbol`, `Apply`) and what contains them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction

from mathloop.answers import deadline


@dataclass(frozen=True, slots=True)
class Number:
    """A rational number; `places` counts the digits written after a decimal point."""

    value: Fraction
    places: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True)
class Symbol:
    """A variable, a named constant (`pi`, `e`, `i`, `oo`) or any other name."""

    name: str


@dataclass(frozen=True, slots=True)
class Apply:
    """An operation or function applied to arguments: add, mul, pow, pm, abs, sin, log, call, index, sum, …"""

    operation: str
    arguments: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Collection:
    """Several answers or one answer with parts.

    kind: list (commas, unordered), sequence (semicolons, ordered), set, tuple, interval, union, difference
    (of two sets), matrix (of rows), row, ratio, pieces (rows of value and condition), division (quotient and
    remainder). `ends` is an interval's brackets: "()", "(]", "[)" or "[]".
    """

    kind: str
    items: tuple[Node, ...]
    ends: str = ""


@dataclass(frozen=True, slots=True)
class Relation:
    """A chain `sides[0] operators[0] sides[1] …` of =, ~ (approximately), <, <=, >, >=, !=, in."""

    sides: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with the unit or noun written after it."""

    value: Node
    unit: str


@dataclass(frozen=True, slots=True)
class Text:
    """Words in lower case, without punctuation."""

    words: str


Node = Number | Symbol | Apply | Collection | Relation | Quantity | Text

ZERO, ONE, MINUS_ONE = Number(Fraction(0)), Number(Fraction(1)), Number(Fraction(-1))
HALF = Number(Fraction(1, 2))
ELEMENT = Symbol("element")
"""The element of a set, which replaces the variable of `{x | 1 < x}`."""
TIME = "time"
"""`ends` of a ratio such as 2:30 that may be a time of day."""


def add(*terms: Node) -> Node:
    """The sum of the terms."""
    return terms[0] if len(terms) == 1 else Apply("add", terms)


def multiply(*factors: Node) -> Node:
    """The product of the factors; nested products are flattened."""
    flat: list[Node] = []
    for factor in factors:
        flat.extend(
            factor.arguments if isinstance(factor, Apply) and factor.operation == "mul" else (factor,)
        )
    return flat[0] if len(flat) == 1 else Apply("mul", tuple(flat))


def negate(node: Node) -> Node:
    """−node; a number stays a number."""
    if isinstance(node, Number):
        return Number(-node.value, node.places)
    return multiply(MINUS_ONE, node)


def divide(top: Node, bottom: Node) -> Node:
    """top / bottom; a quotient of integers is a number."""
    if (
        isinstance(top, Number)
        and isinstance(bottom, Number)
        and bottom.value
        and not top.places + bottom.places
    ):
        return Number(top.value / bottom.value)
    return multiply(top, power(bottom, MINUS_ONE))


def power(base: Node, exponent: Node) -> Node:
    """base ** exponent."""
    return Apply("pow", (base, exponent))


def walk(node: Node) -> Iterator[Node]:
    """The node and all its descendants."""
    waiting = [node]
    while waiting:
        if len(waiting) % 16 == 1:
            deadline.check()
        node = waiting.pop()
        yield node
        if isinstance(node, Apply):
            waiting.extend(reversed(node.arguments))
        elif isinstance(node, Collection):
            waiting.extend(reversed(node.items))
        elif isinstance(node, Relation):
            waiting.extend(reversed(node.sides))
        elif isinstance(node, Quantity):
            waiting.append(node.value)


def ordered(node: Node) -> str:
    """The tree as a text that does not depend on the order of terms and factors."""
    match node:
        case Apply(operation, below):
            parts = [ordered(child) for child in below]
            if operation in ("add", "mul"):
                parts.sort()
            return f"{operation}({','.join(parts)})"
        case Number(value, _):
            return str(value)
        case Symbol(name):
            return repr(name)
    return repr(node)


def rebuild(node: Node, change: dict[Node, Node]) -> Node:
    """The tree with every subtree found in `change` replaced."""
    deadline.check()
    if node in change:
        return change[node]
    match node:
        case Apply(operation, below):
            return Apply(operation, tuple(rebuild(child, change) for child in below))
        case Collection(kind, below, ends):
            return Collection(kind, tuple(rebuild(child, change) for child in below), ends)
        case Relation(below, operators):
            return Relation(tuple(rebuild(child, change) for child in below), operators)
        case Quantity(value, unit):
            return Quantity(rebuild(value, change), unit)
    return node
