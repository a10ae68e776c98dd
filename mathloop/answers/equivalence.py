"""Equality of two parsed answers: the kind of each, and how kinds are compared."""

from __future__ import annotations

from collections.abc import Callable

from mathloop.answers import deadline, families, names, ranges
from mathloop.answers.expressions import equal_expressions, proportional
from mathloop.answers.matching import Matching
from mathloop.answers.prover import Prover
from mathloop.answers.quantities import same_quantities
from mathloop.answers.rounding import are_exact, rounded
from mathloop.answers.simplification import (
    as_12_hour_time,
    as_time,
    has_quotient,
    is_opaque,
    is_rational,
    simplified,
    without_degrees,
    words_of,
)
from mathloop.answers.syntax import (
    ELEMENT,
    TIME,
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
    negate,
    walk,
)
from mathloop.answers.vocabulary import RELATIONS as ORDERED
from mathloop.answers.vocabulary import SYMMETRIC
from mathloop.answers.words import without_subject

_ORDERED = frozenset(("tuple", "sequence", "division"))


class Comparison(Matching):
    """Compares answers; afterwards `rule` is the kind of comparison that decided."""

    def __init__(self, places: int, prover: Prover) -> None:
        self.places, self.prover = places, prover
        self.rule = "expression"
        self._depth = 0

    def same(self, left: Node, right: Node) -> bool:
        """Whether the answers are equal; raises `Undecided`."""
        deadline.check()
        if left == right or are_exact(left, right):
            if self._depth == 0:
                self.rule = "structure" if left == right else "expression"
            return left == right
        left, right = simplified(left, right)
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
        if any(equal_expressions(left, each, self.prover) for each in families.with_constants(left, right)):
            return True
        bare = without_degrees(left), without_degrees(right)
        return bare != (left, right) and equal_expressions(*bare, self.prover)

    def _quantities(self, left: Node, right: Node) -> bool:
        return same_quantities(left, right, self.same)

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
            unique = self.distinct(left.items)
            if unique and unique[0] == Symbol("empty set"):
                return False
            return len(unique) == 1 and self.same(unique[0], right)
        first, second = ranges.pieces(left), ranges.pieces(right)
        return first is not None and second is not None and self.pieces(first, second)

    def _two_collections(self, left: Collection, right: Collection) -> bool:
        kinds = {left.kind, right.kind}
        if (ours := families.solution_family(left)) and (theirs := families.solution_family(right)):
            return families.same_family(ours, theirs, self.same)
        if "ratio" in kinds and len(kinds) > 1:
            return False
        if kinds == {"ratio"}:
            return not left.ends == right.ends == TIME and self.ratios(left.items, right.items)
        if kinds == {"pieces"}:
            return self.any_order(left.items, right.items)
        if kinds <= {"matrix", "row"}:
            return len(left.items) == len(right.items) and all(map(self.same, left.items, right.items))
        if "matrix" in kinds:
            matrix, other = (left, right) if left.kind == "matrix" else (right, left)
            vector = names.as_vector(matrix)
            return other.kind == "tuple" and vector is not None and self.in_order(vector, other.items)
        if kinds & {"interval", "union", "difference", "intersection"}:
            first, second = ranges.pieces(left), ranges.pieces(right)
            if first is None or second is None:
                return len(kinds) == 1 and self._named_sets(left, right)
            return self.pieces(first, second)
        if kinds == {"set", "tuple"}:
            single, point = (left, right) if left.kind == "set" else (right, left)
            return len(single.items) == 1 and self.same(single.items[0], point)
        if "set" in kinds:
            return not kinds & {"tuple"} and self.any_order(left.items, right.items)
        if self._unrelated(left, right):
            return _alike(left, right) and self.any_order(left.items, right.items)
        roots = names.roots(left), names.roots(right)
        if roots[0] and roots[1]:
            return len(roots[0]) == len(roots[1]) and self.matched(roots[0], list(roots[1]))
        assigned = names.assignments(left), names.assignments(right)
        if (assigned[0] or assigned[1]) and not _alike(left, right):
            return False
        if assigned[0] and assigned[1]:
            return self.any_order(left.items, right.items)
        if assigned[0] or assigned[1]:
            return self.in_order(assigned[0] or left.items, assigned[1] or right.items)
        if kinds == {"list", "tuple"} and any(
            isinstance(item, Relation) for item in (*left.items, *right.items)
        ):
            return self._as_ranges(left, right)
        if kinds & _ORDERED:
            return self.in_order(left.items, right.items)
        if kinds == {"list"} and {left.ends, right.ends} == {"and", "or"} and _bounds(left, right):
            return self._as_ranges(left, right)
        if kinds == {"list"} and self.in_order(left.items, right.items):
            return True
        if self._as_ranges(left, right):
            return True
        if len(left.items) != len(right.items) and _numbers(left) and _numbers(right):
            return False  # 1, 1, 2 may be a sequence
        if len(left.items) == len(right.items) and kinds == {"list"}:
            return self.matched(left.items, list(right.items))
        return self.any_order(left.items, right.items)

    def _named_sets(self, left: Collection, right: Collection) -> bool:
        """Sets that only have names: A ∩ B is B ∩ A."""
        if left.kind in ("union", "intersection"):
            return self.any_order(left.items, right.items)
        return left.kind == "difference" and self.in_order(left.items, right.items)

    def _unrelated(self, left: Collection, right: Collection) -> bool:
        """Whether the items are conditions on different variables, a > 0, b > 0, or names with and and or."""
        if {left.ends, right.ends} == {"and", "or"} and all(map(words_of, (*left.items, *right.items))):
            return True
        bounded = {
            ranges.variable(item)
            for item in (*left.items, *right.items)
            if isinstance(item, Relation) and not set(item.operators) <= {"=", "~"}
        }
        return len(bounded) > 1

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
        (one, operators), (other, others) = map(ranges.mirrored, (left, right))
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
        return first is not None and second is not None and self.pieces(first, second)


def _bounds(*collections: Collection) -> bool:
    """Whether one of the items is an inequality."""
    items = (item for collection in collections for item in collection.items)
    return any(isinstance(item, Relation) and not set(item.operators) <= {"=", "~"} for item in items)


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
