"""Equality of two answers that have been read: what kind each is, and how kinds compare."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from mathloop.answers import names, ranges
from mathloop.answers.expressions import equal_expressions, proportional, rounded
from mathloop.answers.prover import Prover, Undecided
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
    divide,
    multiply,
    negate,
    rebuild,
    walk,
)
from mathloop.answers.units import same_noun, scale
from mathloop.answers.words import phrase

MOST_ITEMS = 120
TIME = "time"
"""`ends` of a ratio such as 2:30 that may be a time."""
_ORDERED = frozenset(("tuple", "sequence"))


class Comparison:
    """Compares answers; `rule` tells afterwards which kind of comparison decided."""

    def __init__(self, places: int, prover: Prover) -> None:
        self.places, self.prover = places, prover
        self.rule = "expression"
        self._depth = 0

    def same(self, left: Node, right: Node) -> bool:
        """Whether the answers are equal; raises `Undecided`."""
        left, right = _settled(left), _settled(right)
        rule, compare = self._kind(left, right)
        self._depth += 1
        try:
            if left == right:
                rule, equal = "structure", True
            else:
                equal = compare(left, right)
        finally:
            self._depth -= 1
        if self._depth == 0:
            self.rule = rule
        return equal

    def _kind(self, left: Node, right: Node) -> tuple[str, Callable[[Node, Node], bool]]:
        either = (left, right)
        if any(isinstance(node, Text) for node in either):
            return "words", _same_words
        if any(isinstance(node, Relation) for node in either):
            return "relation", self._relations
        if any(isinstance(node, Quantity) for node in either):
            return "quantity", self._quantities
        if any(isinstance(node, Collection) for node in either):
            return "collection", self._collections
        return "expression", self._expressions

    def _expressions(self, left: Node, right: Node) -> bool:
        if _opaque(left) or _opaque(right):
            return False
        if isinstance(left, Number) and isinstance(right, Number) and left.value == right.value:
            return True
        for decimal, other in ((left, right), (right, left)):
            if isinstance(decimal, Number) and decimal.places and rounded(decimal, other, self.places):
                return True
        if equal_expressions(left, right, self.prover):
            return True
        bare = _without_degrees(left), _without_degrees(right)
        return bare != (left, right) and equal_expressions(*bare, self.prover)

    # Quantities

    def _quantities(self, left: Node, right: Node) -> bool:
        if not isinstance(left, Quantity):
            left, right = right, left
        assert isinstance(left, Quantity)
        size = scale(left.unit)
        if isinstance(right, Quantity):
            other = scale(right.unit)
            if size and other:
                return size[0] == other[0] and self.same(
                    _times(left.value, size[1]), _times(right.value, other[1])
                )
            return (
                not size
                and not other
                and same_noun(left.unit, right.unit)
                and self.same(left.value, right.value)
            )
        if self.same(left.value, right):
            return True
        lettered = _lettered(right) if size else None
        if lettered is not None and scale(lettered.unit):
            return self.same(left, lettered)
        if size and size[0] == "percent":
            return self.same(_times(left.value, Fraction(1, 100)), right)
        if size and size[0] == "angle" and any(node == Symbol("pi") for node in walk(right)):
            return self.same(multiply(_times(left.value, Fraction(1, 180)), Symbol("pi")), right)
        return False

    # Lists, sets, tuples, intervals, matrices, ratios

    def _collections(self, left: Node, right: Node) -> bool:
        if isinstance(left, Collection) and isinstance(right, Collection):
            return self._two_collections(left, right)
        if not isinstance(left, Collection):
            left, right = right, left
        assert isinstance(left, Collection)
        if left.ends == TIME and isinstance(right, Symbol) and right.name.startswith("time "):
            return _on_the_clock(left) in (right.name, _later(right.name))
        if left.kind == "ratio" and len(left.items) == 2:
            return self.same(divide(left.items[0], left.items[1]), right)
        if left.kind in ("set", "list"):
            unique = self._distinct(left.items)
            return len(unique) == 1 and self.same(unique[0], right)
        first, second = ranges.pieces(left), ranges.pieces(right)
        return first is not None and second is not None and self._pieces(first, second)

    def _two_collections(self, left: Collection, right: Collection) -> bool:
        kinds = {left.kind, right.kind}
        if kinds == {"ratio"}:
            return not left.ends == right.ends == TIME and self._ratios(left.items, right.items)
        if kinds <= {"matrix", "row"}:
            return len(left.items) == len(right.items) and all(map(self.same, left.items, right.items))
        if "matrix" in kinds:
            matrix, other = (left, right) if left.kind == "matrix" else (right, left)
            vector = names.as_vector(matrix)
            return other.kind == "tuple" and vector is not None and self._in_order(vector, other.items)
        if kinds & {"interval", "union"}:
            first, second = ranges.pieces(left), ranges.pieces(right)
            return first is not None and second is not None and self._pieces(first, second)
        if "set" in kinds:
            return not kinds & {"tuple"} and self._any_order(left.items, right.items)
        assigned = names.assignments(left), names.assignments(right)
        if assigned[0] and assigned[1]:
            return self._any_order(left.items, right.items)
        if assigned[0] or assigned[1]:
            return self._in_order(assigned[0] or left.items, assigned[1] or right.items)
        if kinds == {"list", "tuple"} and any(
            isinstance(item, Relation) for item in (*left.items, *right.items)
        ):
            return self._as_ranges(left, right)
        if kinds & _ORDERED:
            return self._in_order(left.items, right.items)
        if (
            kinds == {"list"}
            and len(left.items) == len(right.items)
            and self._in_order(left.items, right.items)
        ):
            return True
        first, second = ranges.pieces(left), ranges.pieces(right)
        if first is not None and second is not None and self._pieces(first, second):
            return True
        return self._any_order(left.items, right.items)

    def _in_order(self, left: Sequence[Node], right: Sequence[Node]) -> bool:
        return len(left) == len(right) and all(map(self.same, left, right))

    def _any_order(self, left: Sequence[Node], right: Sequence[Node]) -> bool:
        one, other = self._distinct(left), self._distinct(right)
        if len(one) != len(other):
            return False
        for item in one:
            match = next((index for index, candidate in enumerate(other) if self.same(item, candidate)), None)
            if match is None:
                return False
            del other[match]
        return True

    def _distinct(self, items: Sequence[Node]) -> list[Node]:
        if len(items) > MOST_ITEMS:
            raise Undecided("too many items to match")
        unique: list[Node] = []
        for item in items:
            if item not in unique and not any(self.same(item, kept) for kept in unique):
                unique.append(item)
        return unique

    def _ratios(self, left: Sequence[Node], right: Sequence[Node]) -> bool:
        return len(left) == len(right) and all(
            self.same(multiply(left[0], after), multiply(right[0], before))
            for before, after in zip(left[1:], right[1:], strict=True)
        )

    def _pieces(self, left: list[ranges.Piece], right: list[ranges.Piece]) -> bool:
        return len(left) == len(right) and all(
            one.ends == other.ends and self.same(one.low, other.low) and self.same(one.high, other.high)
            for one, other in zip(left, right, strict=True)
        )

    # Relations

    def _relations(self, left: Node, right: Node) -> bool:
        if not isinstance(left, Relation):
            left, right = right, left
        assert isinstance(left, Relation)
        named = names.named_value(left)
        if not isinstance(right, Relation):
            if named is not None:
                return self.same(named[1], right)
            if "=" in left.operators:
                return False
            return self._as_ranges(left, right)
        other = names.named_value(right)
        if named is not None and other is not None:
            renamed = names.same_name(named, other)
            if renamed is not None and self.same(named[1], renamed):
                return True
        if set(left.operators) <= {"=", "~"} and set(right.operators) <= {"=", "~"}:
            return len(left.sides) == len(right.sides) == 2 and self._equations(left, right)
        if named is not None or other is not None:
            value, relation = (named, right) if named is not None else (other, left)
            assert value is not None
            variable = ranges.variable(relation)
            return variable is not None and variable == value[0] and self._as_ranges(value[1], relation)
        return self._inequalities(left, right)

    def _equations(self, left: Relation, right: Relation) -> bool:
        one, other = (add(side.sides[0], negate(side.sides[1])) for side in (left, right))
        if any(
            _is_collection(node) or isinstance(node, (Quantity, Text))
            for side in (one, other)
            for node in walk(side)
        ):
            return False
        if proportional(one, other, self.prover) is not None:
            return True
        if not names.solved_for_same(left, right) or any(isinstance(node, Collection) for node in walk(one)):
            return False
        if not _rational(one) or not _rational(other) or not (_has_quotient(one) or _has_quotient(other)):
            return False
        return self.prover.prove("equations", one, other, False)

    def _inequalities(self, left: Relation, right: Relation) -> bool:
        left, right = ranges.ascending(left), ranges.ascending(right)
        if (
            left.operators == right.operators
            and len(left.sides) > 2
            and all(map(self.same, left.sides, right.sides))
        ):
            return True
        if (
            len(left.sides) == len(right.sides) == 2
            and left.operators == right.operators
            and "in" not in left.operators
        ):
            one, other = (add(side.sides[0], negate(side.sides[1])) for side in (left, right))
            if not any(
                _is_collection(node) or isinstance(node, (Quantity, Text))
                for side in (one, other)
                for node in walk(side)
            ):
                positive = proportional(one, other, self.prover)
                if positive or (positive is False and left.operators == ("!=",)):
                    return True
        if ranges.variable(left) is None or ranges.variable(left) != ranges.variable(right):
            return False
        return self._as_ranges(left, right)

    def _as_ranges(self, left: Node, right: Node) -> bool:
        first, second = ranges.pieces(left), ranges.pieces(right)
        return first is not None and second is not None and self._pieces(first, second)


def _settled(node: Node) -> Node:
    """Percent and degree signs as units, ± as two answers, matrices multiplied out, single lists opened."""
    match node:
        case Apply("percent", (value,)):
            return Quantity(value, "%")
        case Apply("degree", (value,)):
            return Quantity(value, "degree")
        case Apply(
            "mul",
            (Number(Fraction(numerator=-1, denominator=1)), Apply("percent" | "degree" as unit, (value,))),
        ):
            return Quantity(negate(value), "%" if unit == "percent" else "degree")
        case Apply("mul", (Symbol(name), Collection("tuple", _) as point)) if (
            len(name) == 1 and name.isupper()
        ):
            return point
        case Quantity(Relation(sides, operators), unit):
            return Relation((*sides[:-1], Quantity(sides[-1], unit)), operators)
        case Collection("list" | "sequence" | "set", items):
            items = tuple(part for item in items for part in _signs(item))
            if len(items) == 1 and node.kind != "set":
                return _settled(items[0])
            return Collection(node.kind, items) if items != node.items else node
        case Apply() | Relation() | Quantity():
            signs = _signs(node)
            if len(signs) > 1:
                return Collection("list", tuple(signs))
            return names.multiplied_out(node) if isinstance(node, Apply) else node
    return node


def _on_the_clock(ratio: Collection) -> str:
    numbers = [int(item.value) for item in ratio.items if isinstance(item, Number)]
    return f"time {numbers[0]}:{numbers[1]:02}"


def _later(time: str) -> str:
    """A time of day on a clock of twelve hours: 16:30 is 4:30."""
    hour, _, minute = time.removeprefix("time ").partition(":")
    return f"time {(int(hour) - 1) % 12 + 1}:{minute}"


def _signs(node: Node) -> list[Node]:
    """The two readings of an answer with ±, or the answer itself."""
    found = {part for part in walk(node) if isinstance(part, Apply) and part.operation == "pm"}
    if not found:
        return [node]
    plus = rebuild(node, {part: part.arguments[0] for part in found})
    minus = rebuild(node, {part: negate(part.arguments[0]) for part in found})
    return [plus, minus]


def _without_degrees(node: Node) -> Node:
    """180° − x as 180 − x; a degree sign inside a function is not a matter of notation."""
    parts = [part for part in walk(node) if isinstance(part, Apply)]
    if any(part.operation not in ("add", "mul", "pow", "degree") for part in parts):
        return node
    return rebuild(node, {part: part.arguments[0] for part in parts if part.operation == "degree"})


def _lettered(node: Node) -> Quantity | None:
    """`20 m/s` and `8 m^2` without `\\text`: a number times letters that may be units, else None."""
    match node:
        case Apply("mul", (Number() as value, Symbol(unit))):
            return Quantity(value, unit)
        case Apply("mul", (Number() as value, Symbol(unit), Apply("pow", (Symbol(per), exponent)))) if (
            exponent == MINUS_ONE
        ):
            return Quantity(value, f"{unit}/{per}")
        case Apply("mul", (Number() as value, Apply("pow", (Symbol(unit), Number(exponent, _))))) if (
            exponent in (2, 3)
        ):
            return Quantity(value, f"{unit}^{exponent}")
    return None


def _is_collection(node: Node) -> bool:
    return isinstance(node, Collection)


def _opaque(node: Node) -> bool:
    """Whether a symbol is a time, a number in another base or the empty set: equal only to itself."""
    return isinstance(node, Symbol) and node.name.partition(" ")[0] in ("time", "base", "empty")


def _same_words(left: Node, right: Node) -> bool:
    return bool(_words(left)) and _words(left) == _words(right)


def _words(node: Node) -> str | None:
    match node:
        case Text(words):
            return words
        case Symbol(name):
            return name.lower() if len(name) > 1 else name
        case Apply("mul", factors) if all(
            isinstance(factor, Symbol) for factor in factors
        ):  # a short word: odd
            return phrase("".join(factor.name for factor in factors if isinstance(factor, Symbol)))
    return None


def _times(node: Node, factor: Fraction) -> Node:
    if factor == 1:
        return node
    if isinstance(node, Number):
        return Number(node.value * factor, node.places)
    if isinstance(node, Collection):
        return Collection(node.kind, tuple(_times(item, factor) for item in node.items), node.ends)
    return multiply(Number(factor), node)


def _rational(node: Node) -> bool:
    return all(
        isinstance(part, (Number, Symbol))
        or (isinstance(part, Apply) and part.operation in ("add", "mul", "pow"))
        for part in walk(node)
    )


def _has_quotient(node: Node) -> bool:
    return any(
        isinstance(part, Apply) and part.operation == "pow" and isinstance(part.arguments[1], Number)
        and part.arguments[1].value < 0 and not isinstance(part.arguments[0], Number)
        for part in walk(node)
    )  # fmt: skip
