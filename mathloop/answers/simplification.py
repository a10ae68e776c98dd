"""Simplifies an answer's tree before comparison; and properties of trees."""

from __future__ import annotations

from fractions import Fraction

from mathloop.answers import names
from mathloop.answers.deadline import Undecided
from mathloop.answers.syntax import (
    MINUS_ONE,
    Apply,
    Collection,
    Node,
    Number,
    Quantity,
    Relation,
    Symbol,
    Text,
    add,
    multiply,
    negate,
    rebuild,
    walk,
)
from mathloop.answers.units import scale
from mathloop.answers.words import phrase


def simplify(node: Node) -> Node:
    """Percent and degree signs as units, ± as two answers, matrices multiplied, one-item lists unwrapped."""
    match node:
        case Symbol("mathbb R") | Text("all real numbers"):
            return Symbol("R")
        case Text("all integers") | Symbol("mathbb Z"):
            return Symbol("Z")
        case Text("all natural numbers") | Symbol("mathbb N"):
            return Symbol("N")
        case Text("all rational numbers") | Symbol("mathbb Q"):
            return Symbol("Q")
        case Text("no solution" | "empty set"):
            return Symbol("empty set")
        case Apply("percent", (value,)):
            return Quantity(value, "%")
        case Apply("degree", (value,)):
            return Quantity(value, "degree")
        case Apply("celsius" | "fahrenheit" as unit, (value,)):
            return Quantity(value, "°c" if unit == "celsius" else "°f")
        case Apply(
            "mul",
            (
                Number(Fraction(numerator=-1, denominator=1)),
                Apply("percent" | "degree" | "celsius" | "fahrenheit", (value,)) as positive,
            ),
        ):
            measured = simplify(positive)
            return Quantity(negate(value), measured.unit if isinstance(measured, Quantity) else "")
        case Apply("mul", (Symbol(name), Collection("tuple", _) as point)) if (
            len(name) == 1 and name.isupper()
        ):
            return point
        case Quantity(Symbol("a" | "A" as article), noun) if scale(noun) is None and (
            article == "a" or (noun.isascii() and not noun.endswith("s"))  # "A wins"
        ):
            return Text(phrase(noun))  # "a circle"
        case Quantity(Relation(sides, operators), unit):
            return Relation((*sides[:-1], Quantity(sides[-1], unit)), operators)
        case Collection("list" | "sequence" as kind, items) if sum(map(_is_labeled, items)) > 1:
            return Collection(kind, tuple(map(_as_equation, items)), node.ends)
        case Collection("list" | "sequence" | "set", items):
            if sum(isinstance(item, Relation) and len(_plus_minus(item)) > 1 for item in items) > 1:
                raise Undecided("several ± signs, and it is unclear whether they vary together")
            items = tuple(part for item in items for part in _plus_minus(item))
            if len(items) == 1 and node.kind != "set":
                return simplify(items[0])
            return Collection(node.kind, items, node.ends) if items != node.items else node
        case Collection("tuple", _) if sum(map(_is_plus_minus, walk(node))) == 1:
            return Collection("list", tuple(_plus_minus(node)))
        case Apply() | Relation() | Quantity():
            readings = _plus_minus(node)
            if len(readings) > 1:
                return Collection("list", tuple(readings))
            return names.evaluate_matrices(node) if isinstance(node, Apply) else node
    return node


def simplified(left: Node, right: Node) -> tuple[Node, Node]:
    """Both simplified; a sum of unit vectors beside a vector as its components."""
    left, right = simplify(left), simplify(right)
    if isinstance(left, Collection) != isinstance(right, Collection):
        left, right = _components(left, right), _components(right, left)
    return left, right


_BASIS = (Symbol("i"), Symbol("j"), Symbol("k"))


def _components(node: Node, beside: Node) -> Node:
    """2i − 3j beside a vector or point as (2, −3); any other node as it is."""
    if not (
        isinstance(node, Apply) and isinstance(beside, Collection) and beside.kind in ("tuple", "matrix")
    ):
        return node
    entries: dict[Node, list[Node]] = {letter: [] for letter in _BASIS[: len(beside.items)]}
    for term in node.arguments if node.operation == "add" else (node,):
        factors = term.arguments if isinstance(term, Apply) and term.operation == "mul" else (term,)
        found = [factor for factor in factors if factor in entries]
        rest = multiply(*(factor for factor in factors if factor not in entries))
        if len(found) != 1 or any(part in entries for part in walk(rest)):
            return node
        entries[found[0]].append(rest)
    if not any(entries[letter] for letter in entries if letter != _BASIS[0]):
        return node  # 2i may be a complex number
    return Collection(
        "tuple", tuple(add(*parts) if parts else Number(Fraction(0)) for parts in entries.values())
    )


def _is_plus_minus(node: Node) -> bool:
    return isinstance(node, Apply) and node.operation == "pm"


def _is_labeled(node: Node) -> bool:
    """Whether it is a point with its letter: A(1, 2)."""
    match node:
        case Apply("mul", (Symbol(name), Collection("tuple", _))):
            return len(name) == 1 and name.isupper()
    return False


def _as_equation(node: Node) -> Node:
    if isinstance(node, Apply) and _is_labeled(node):
        return Relation(node.arguments, ("=",))
    return node


def _is_minus_plus(part: Apply) -> bool:
    """Whether it is ∓, which is parsed as ± of the negative."""
    inner = part.arguments[0]
    if isinstance(inner, Number):
        return inner.value < 0
    return isinstance(inner, Apply) and inner.operation == "mul" and inner.arguments[0] == MINUS_ONE


def _plus_minus(node: Node) -> list[Node]:
    """The two readings of an answer with ±, or the answer itself."""
    signs = {part for part in walk(node) if isinstance(part, Apply) and part.operation == "pm"}
    if not signs:
        return [node]
    if len(signs) > 1 and len({_is_minus_plus(part) for part in signs}) == 1:
        raise Undecided("several ± signs, and it is unclear whether they vary together")
    plus = rebuild(node, {part: part.arguments[0] for part in signs})
    minus = rebuild(node, {part: negate(part.arguments[0]) for part in signs})
    return [plus, minus]


def letters_as_unit(node: Node) -> Quantity | None:
    """A number times letters that may be units (`20 m/s`, `8 m^2`) as a quantity, else None."""
    match node:
        case Apply("mul", (Number() as value, Symbol(unit))):
            return Quantity(value, unit)
        case Apply("mul", (Number() as value, Symbol(unit), Apply("pow", (Symbol(per), exponent)))) if (
            exponent == MINUS_ONE
        ):
            return Quantity(value, f"{unit}/{per}")
        case Apply(
            "mul",
            (
                Number() as value,
                Symbol(unit),
                Apply("pow", (Apply("pow", (Symbol(per), Number(exponent, _))), minus)),
            ),
        ) if minus == MINUS_ONE and exponent in (2, 3):
            return Quantity(value, f"{unit}/{per}^{exponent}")
        case Apply("mul", (Number() as value, Apply("pow", (Symbol(unit), Number(exponent, _))))) if (
            exponent in (2, 3)
        ):
            return Quantity(value, f"{unit}^{exponent}")
    return None


def without_degrees(node: Node) -> Node:
    """180° − x as 180 − x; a degree sign inside a function stays, since it changes the value."""
    parts = [part for part in walk(node) if isinstance(part, Apply)]
    if any(part.operation not in ("add", "mul", "pow", "degree") for part in parts):
        return node
    return rebuild(node, {part: part.arguments[0] for part in parts if part.operation == "degree"})


def times(node: Node, factor: Fraction) -> Node:
    """The node times a number; for a collection, each item times the number."""
    if factor == 1:
        return node
    if isinstance(node, Number):
        return Number(node.value * factor, node.places)
    if isinstance(node, Collection):
        return Collection(node.kind, tuple(times(item, factor) for item in node.items), node.ends)
    return multiply(Number(factor), node)


def as_time(ratio: Collection) -> str:
    """A ratio such as 2:30 as a time of day, in the form of `notation`'s symbols."""
    numbers = [int(item.value) for item in ratio.items if isinstance(item, Number)]
    return f"time {numbers[0]}:{numbers[1]:02}"


def as_12_hour_time(time: str) -> str:
    """A time of day on a 12-hour clock: 16:30 is 4:30."""
    hour, _, minute = time.removeprefix("time ").partition(":")
    return f"time {(int(hour) - 1) % 12 + 1}:{minute}"


def is_opaque(node: Node) -> bool:
    """Whether a symbol is a time, a date, a number in another base or the empty set: equal only to itself."""
    return isinstance(node, Symbol) and node.name.partition(" ")[0] in ("time", "date", "base", "empty")


def words_of(node: Node) -> str | None:
    """The words of a text, a symbol, or a short word that was parsed as a product of letters; else None."""
    match node:
        case Text(words):
            return words
        case Symbol(name):
            return name.lower() if len(name) > 1 else name
        case Apply("mul", factors) if all(isinstance(factor, Symbol) for factor in factors):
            return phrase("".join(factor.name for factor in factors if isinstance(factor, Symbol)))
    return None


def is_rational(node: Node) -> bool:
    """Whether numbers and symbols are combined by sums, products and powers only."""
    return all(
        isinstance(part, (Number, Symbol))
        or (isinstance(part, Apply) and part.operation in ("add", "mul", "pow"))
        for part in walk(node)
    )


def has_quotient(node: Node) -> bool:
    """Whether a denominator is anything other than a number."""
    return any(
        isinstance(part, Apply) and part.operation == "pow" and isinstance(part.arguments[1], Number)
        and part.arguments[1].value < 0 and not isinstance(part.arguments[0], Number)
        for part in walk(node)
    )  # fmt: skip
