"""Equality of two parsed answers: the kind of each, and how kinds are compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction

from mathloop.answers import deadline, families, names, ranges
from mathloop.answers.deadline import Undecided
from mathloop.answers.expressions import constant_value, equal_expressions, proportional, rounded
from mathloop.answers.nouns import droppable, folded, same_noun
from mathloop.answers.prover import Prover
from mathloop.answers.simplification import (
    as_12_hour_time,
    as_time,
    has_quotient,
    is_opaque,
    is_rational,
    letters_as_unit,
    simplify,
    times,
    without_degrees,
    words_of,
)
from mathloop.answers.syntax import (
    ELEMENT,
    TIME,
    ZERO,
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
    walk,
)
from mathloop.answers.units import scale
from mathloop.answers.vocabulary import MIRRORED, SYMMETRIC
from mathloop.answers.vocabulary import RELATIONS as ORDERED
from mathloop.answers.words import without_subject

MOST_ITEMS = 120
_OF_ANGLES = frozenset(("arcsin", "arccos", "arctan"))
_ORDERED = frozenset(("tuple", "sequence", "division"))


class Comparison:
    """Compares answers; afterwards `rule` is the kind of comparison that decided."""

    def __init__(self, places: int, prover: Prover) -> None:
        self.places, self.prover = places, prover
        self.rule = "expression"
        self._depth = 0

    def same(self, left: Node, right: Node) -> bool:
        """Whether the answers are equal; raises `Undecided`."""
        deadline.check()
        if left == right:
            if self._depth == 0:
                self.rule = "structure"
            return True
        left, right = simplify(left), simplify(right)
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
        if is_opaque(left) or is_opaque(right):
            return False
        if isinstance(left, Number) and isinstance(right, Number) and left.value == right.value:
            return True
        antiderivatives = families.same_antiderivative(left, right, self.same)
        if antiderivatives is not None:
            return antiderivatives
        for decimal, other in ((left, right), (right, left)):
            if isinstance(decimal, Number) and decimal.places and rounded(decimal, other, self.places):
                return True
        if equal_expressions(left, right, self.prover):
            return True
        bare = without_degrees(left), without_degrees(right)
        return bare != (left, right) and equal_expressions(*bare, self.prover)

    # Quantities

    def _quantities(self, left: Node, right: Node) -> bool:
        if not isinstance(left, Quantity):
            left, right = right, left
        assert isinstance(left, Quantity)
        size = scale(left.unit)
        if isinstance(right, Quantity):
            other = scale(right.unit)
            if size and other and {size[0], other[0]} == {"angle", "radian"}:
                degrees, radians = (left, right) if size[0] == "angle" else (right, left)
                half_turns = times(degrees.value, Fraction(1, 180))
                return self.same(multiply(half_turns, Symbol("pi")), radians.value)
            if size and other and {size[0], other[0]} == {"mass", "sterling"}:
                pounds = {folded(left.unit), folded(right.unit)} == {"£", "pound"}
                return pounds and self.same(left.value, right.value)
            if size and other:
                return size[0] == other[0] and self.same(
                    times(left.value, size[1]), times(right.value, other[1])
                )
            return (
                not size
                and not other
                and same_noun(left.unit, right.unit)
                and self.same(left.value, right.value)
            )
        named = left.unit.isascii() and _is_letter(left.value)
        if not size and (named or not droppable(left.unit)):
            return False
        if size and size[0] == "percent":
            if self.same(times(left.value, size[1] / 100), right):
                return True
            value = constant_value(right)  # 15 may mean 15 %, but 0.98 does not mean 0.98 %
            return size[1] == 1 and value is not None and abs(value) > 1 and self.same(left.value, right)
        if self.same(left.value, right):
            return True
        if size and isinstance(right, Symbol) and right.name.startswith("time "):  # 3时 and 3:00
            hours, _, minutes = right.name.removeprefix("time ").partition(":")
            passed = Number(Fraction(60 * int(hours) + int(minutes)))
            whole = minutes == "00" and left.unit == "时"
            return whole and self.same(times(left.value, size[1] / 60), passed)
        with_unit = letters_as_unit(right) if size else None
        if with_unit is not None and scale(with_unit.unit):
            return self.same(left, with_unit)
        if size and size[0] == "angle" and any(map(_in_radians, walk(right))):
            return self.same(multiply(times(left.value, Fraction(1, 180)), Symbol("pi")), right)
        return False

    # Lists, sets, tuples, intervals, matrices, ratios

    def _collections(self, left: Node, right: Node) -> bool:
        if isinstance(left, Collection) and isinstance(right, Collection):
            return self._two_collections(left, right)
        if not isinstance(left, Collection):
            left, right = right, left
        assert isinstance(left, Collection)
        if left.ends == TIME and isinstance(right, Symbol) and right.name.startswith("time "):
            return as_time(left) in (right.name, as_12_hour_time(right.name))
        if left.kind == "ratio" and len(left.items) == 2:
            return self.same(divide(left.items[0], left.items[1]), right)
        if left.kind in ("set", "list"):
            if left.kind == "set" and self._depth > 1:
                return False  # as an element of a set, {2} is not 2
            unique = self._distinct(left.items)
            if unique and unique[0] == Symbol("empty set"):
                return False
            return len(unique) == 1 and self.same(unique[0], right)
        first, second = ranges.pieces(left), ranges.pieces(right)
        return first is not None and second is not None and self._pieces(first, second)

    def _two_collections(self, left: Collection, right: Collection) -> bool:
        kinds = {left.kind, right.kind}
        if (ours := families.solution_family(left)) and (theirs := families.solution_family(right)):
            return families.same_family(ours, theirs, self.same)
        if "ratio" in kinds and len(kinds) > 1:
            return False
        if kinds == {"ratio"}:
            return not left.ends == right.ends == TIME and self._ratios(left.items, right.items)
        if kinds == {"pieces"}:
            return self._any_order(left.items, right.items)
        if kinds <= {"matrix", "row"}:
            return len(left.items) == len(right.items) and all(map(self.same, left.items, right.items))
        if "matrix" in kinds:
            matrix, other = (left, right) if left.kind == "matrix" else (right, left)
            vector = names.as_vector(matrix)
            return other.kind == "tuple" and vector is not None and self._in_order(vector, other.items)
        if kinds & {"interval", "union", "difference", "intersection"}:
            first, second = ranges.pieces(left), ranges.pieces(right)
            if first is None or second is None:
                return len(kinds) == 1 and self._named_sets(left, right)
            return first is not None and second is not None and self._pieces(first, second)
        if kinds == {"set", "tuple"}:
            single, point = (left, right) if left.kind == "set" else (right, left)
            return len(single.items) == 1 and self.same(single.items[0], point)
        if "set" in kinds:
            return not kinds & {"tuple"} and self._any_order(left.items, right.items)
        if self._unrelated(left, right):
            return _alike(left, right) and self._any_order(left.items, right.items)
        roots = names.roots(left), names.roots(right)
        if roots[0] and roots[1]:
            return len(roots[0]) == len(roots[1]) and self._matched(roots[0], list(roots[1]))
        assigned = names.assignments(left), names.assignments(right)
        if (assigned[0] or assigned[1]) and not _alike(left, right):
            return False
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
        if kinds == {"list"} and {left.ends, right.ends} == {"and", "or"} and _bounds(left, right):
            return self._as_ranges(left, right)
        if kinds == {"list"} and self._in_order(left.items, right.items):
            return True
        if self._as_ranges(left, right):
            return True
        if len(left.items) != len(right.items) and _numbers(left) and _numbers(right):
            return False  # 1, 1, 2 may be a sequence
        if len(left.items) == len(right.items) and kinds == {"list"}:
            return self._matched(left.items, list(right.items))
        return self._any_order(left.items, right.items)

    def _named_sets(self, left: Collection, right: Collection) -> bool:
        """Sets that only have names: A ∩ B is B ∩ A."""
        if left.kind in ("union", "intersection"):
            return self._any_order(left.items, right.items)
        return left.kind == "difference" and self._in_order(left.items, right.items)

    def _unrelated(self, left: Collection, right: Collection) -> bool:
        """Whether the items are conditions on different variables: a > 0, b > 0."""
        bounded = {
            ranges.variable(item)
            for item in (*left.items, *right.items)
            if isinstance(item, Relation) and not set(item.operators) <= {"=", "~"}
        }
        return len(bounded) > 1

    def _in_order(self, left: Sequence[Node], right: Sequence[Node]) -> bool:
        return len(left) == len(right) and all(map(self.same, left, right))

    def _any_order(self, left: Sequence[Node], right: Sequence[Node]) -> bool:
        one, other = self._distinct(left), self._distinct(right)
        if len(one) != len(other):
            return False
        return self._matched(one, other)

    def _matched(self, one: Sequence[Node], other: list[Node]) -> bool:
        """Whether the items are the same in any order, with equal multiplicity."""
        if len(one) > MOST_ITEMS:
            raise Undecided("too many items to match")
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
            if item not in unique and not any(self.same(item, other) for other in unique):
                unique.append(item)
        return unique

    def _ratios(self, left: Sequence[Node], right: Sequence[Node]) -> bool:
        if any(self.same(item, ZERO) for item in (*left, *right)):
            return self._in_order(left, right)  # 0 : 3 and 25 : 0 are not ratios
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
                return names.true_chain(left) and self.same(names.in_order_of_names(*named), right)
            if "=" in left.operators:
                return False
            return self._as_ranges(left, right)
        if ORDERED & {*left.operators, *right.operators}:
            return self._ordered_relations(left, right)
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
            return variable in (value[0], ELEMENT) and self._as_ranges(value[1], relation)
        return self._inequalities(left, right)

    def _ordered_relations(self, left: Relation, right: Relation) -> bool:
        """Relations of which only the sides and their order are known: A ⊆ B is B ⊇ A."""
        (one, operators), (other, others) = map(_mirrored, (left, right))
        if operators != others or len(one) != len(other):
            return False
        if all(map(self.same, one, other)):
            return True
        symmetric = set(operators) <= SYMMETRIC and len(one) == 2
        return symmetric and self.same(one[0], other[1]) and self.same(one[1], other[0])

    def _equations(self, left: Relation, right: Relation) -> bool:
        one, other = (add(side.sides[0], negate(side.sides[1])) for side in (left, right))
        if not _plain(one, other):
            return False
        if proportional(one, other, self.prover) is not None:
            return True
        if not names.solved_for_same(left, right) or any(isinstance(node, Collection) for node in walk(one)):
            return False
        if not is_rational(one) or not is_rational(other) or not (has_quotient(one) or has_quotient(other)):
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
            if _plain(one, other):
                positive = proportional(one, other, self.prover)
                if positive or (positive is False and left.operators == ("!=",)):
                    return True
        bounded = {ranges.variable(left), ranges.variable(right)} - {ELEMENT}
        if None in bounded or len(bounded) > 1:
            return False
        return self._as_ranges(left, right)

    def _as_ranges(self, left: Node, right: Node) -> bool:
        first, second = ranges.pieces(left), ranges.pieces(right)
        return first is not None and second is not None and self._pieces(first, second)


def _mirrored(relation: Relation) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    if set(relation.operators) <= MIRRORED.keys():
        return relation.sides[::-1], tuple(MIRRORED[operator] for operator in relation.operators[::-1])
    return relation.sides, relation.operators


def _bounds(*collections: Collection) -> bool:
    """Whether one of the items is an inequality."""
    items = (item for collection in collections for item in collection.items)
    return any(isinstance(item, Relation) and not set(item.operators) <= {"=", "~"} for item in items)


def _is_letter(node: Node) -> bool:
    """Whether it is a letter that names a thing, so that a noun after it is no unit: A triangle."""
    return isinstance(node, Symbol) and len(node.name) == 1 and node.name.isupper()


def _in_radians(node: Node) -> bool:
    """Whether a part of a value says that it is in radians: π, or the inverse of a function of angles."""
    return node == Symbol("pi") or (isinstance(node, Apply) and node.operation in _OF_ANGLES)


def _alike(left: Collection, right: Collection) -> bool:
    """Whether both lists say "or" or neither does."""
    return (left.ends == "or") == (right.ends == "or")


def _numbers(collection: Collection) -> bool:
    return all(isinstance(item, Number | Apply | Symbol | Quantity) for item in collection.items)


def _same_words(left: Node, right: Node) -> bool:
    one, other = words_of(left), words_of(right)
    if not one or not other:
        return False
    return one == other or without_subject(one) == other or without_subject(other) == one


def _plain(*nodes: Node) -> bool:
    """Whether the trees contain only expressions."""
    return not any(isinstance(part, Collection | Quantity | Text) for node in nodes for part in walk(node))
