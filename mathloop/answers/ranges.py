"""Sets of real numbers: intervals, their unions, and the inequalities that describe them."""

from __future__ import annotations

from fractions import Fraction
from typing import NamedTuple

from mathloop.answers.exact import variables
from mathloop.answers.expressions import constant_value, linear
from mathloop.answers.names import is_name
from mathloop.answers.syntax import (
    ELEMENT,
    Apply,
    Collection,
    Node,
    Number,
    Relation,
    Symbol,
    Text,
    add,
    divide,
    negate,
)
from mathloop.answers.vocabulary import MIRRORED

INFINITY = Symbol("oo")
MINUS_INFINITY = Apply("mul", (Number(Fraction(-1)), INFINITY))
_MIRRORED = {"(": ")", ")": "(", "[": "]", "]": "["}
_FLIPPED = {">": "<", ">=": "<=", "<": ">", "<=": ">="}


class Piece(NamedTuple):
    """One interval; a single number is closed with two equal ends."""

    low: Node
    high: Node
    ends: str


def ascending(relation: Relation) -> Relation:
    """The chain with < and <= only, smallest side first, if it can be reversed."""
    if relation.operators and set(relation.operators) <= {">", ">="}:
        return Relation(
            relation.sides[::-1], tuple(_FLIPPED[operator] for operator in relation.operators[::-1])
        )
    return relation


def variable(relation: Node) -> Node | None:
    """The variable that the inequality bounds; x for a bound of |x|."""
    if not isinstance(relation, Relation):
        return None
    side = next((side for side in relation.sides if is_name(side)), None)
    if side is None:
        letters = {name for side in relation.sides for name in variables(side)}
        return Symbol(letters.pop()) if len(letters) == 1 else None
    return side.arguments[0] if isinstance(side, Apply) and side.operation == "abs" else side


def pieces(node: Node) -> list[Piece] | None:
    """The set as ordered, merged intervals; None if the answer is not one or its ends cannot be ordered."""
    intervals = _pieces(node)
    return None if intervals is None else _merged(intervals)


def is_range(node: Collection) -> bool:
    """Whether a collection means a set of reals; a list of pairs alone is a list of points."""
    if node.kind == "list":
        return any(isinstance(item, Relation) or _is_interval(item) for item in node.items)
    return _is_interval(node)


def _is_interval(node: Node) -> bool:
    return isinstance(node, Collection) and node.kind in ("interval", "union", "difference", "intersection")


def _pieces(node: Node) -> list[Piece] | None:
    match node:
        case Symbol("R" | "mathbb R") | Text("all real numbers"):
            return [Piece(MINUS_INFINITY, INFINITY, "()")]
        case Collection("interval", (low, high), ends):
            return [Piece(low, high, ends)]
        case Collection("difference", (whole, Collection("set", points))):
            apart = (Relation((ELEMENT, point), ("!=",)) for point in points)
            return _common((whole, *apart))
        case Collection("difference", (whole, removed)):
            return _without(whole, removed)
        case Collection("tuple", (low, high)):
            return [Piece(low, high, "()")]
        case Collection("union", parts):
            return _joined(parts)
        case Collection("intersection", parts):
            return _common(parts)
        case Collection("set", items):
            return [Piece(item, item, "[]") for item in items]
        case Collection("list", parts) if (
            len({variable(part) for part in parts if isinstance(part, Relation)}) > 1
        ):
            return None  # conditions on different variables
        case Collection("list", parts) if not any(map(_bounds, parts)):
            return None  # values, or points
        case Collection("list", parts, connective) if all(
            isinstance(part, (Relation, Collection)) for part in parts
        ):
            joined = _joined(parts)
            if joined is None or (connective != "and" and (connective == "or" or _disjoint(joined))):
                return joined
            return _common(parts)
        case Relation():
            return _of_relation(ascending(node))
    return None


def _without(whole: Node, removed: Node) -> list[Piece] | None:
    """A set without an interval or a union of intervals."""
    kept, gaps = pieces(whole), pieces(removed)
    if kept is None or gaps is None or not all(map(_ordered, (*kept, *gaps))):
        return None
    for gap in gaps:
        outside = (
            Piece(MINUS_INFINITY, gap.low, "(" + (")" if gap.ends[0] == "[" else "]")),
            Piece(gap.high, INFINITY, ("(" if gap.ends[1] == "]" else "[") + ")"),
        )
        overlaps = [_overlap(one, other) for one in kept for other in outside]
        kept = [overlap for overlap in overlaps if overlap is not None]
    return kept or None


def _bounds(part: Node) -> bool:
    return not (isinstance(part, Relation) and part.operators == ("=",))


def _joined(parts: tuple[Node, ...]) -> list[Piece] | None:
    joined: list[Piece] = []
    for part in parts:
        intervals = _pieces(part)
        if intervals is None:
            return None
        joined += intervals
    return joined


def _of_relation(relation: Relation) -> list[Piece] | None:
    match relation:
        case Relation(sides, operators) if set(operators) <= {"<", "<="} and not any(map(is_name, sides)):
            return _of_linear(relation)
        case Relation((name, value), ("in",)) if is_name(name):
            return _pieces(value)
        case Relation((name, value), ("=",)) if is_name(name) and not isinstance(value, Collection):
            return [Piece(value, value, "[]")]
        case Relation((name, value), ("!=",)) if is_name(name):
            return [Piece(MINUS_INFINITY, value, "()"), Piece(value, INFINITY, "()")]
        case Relation((low, high), ("<" | "<=" as operator,)):
            closed = operator == "<="
            if is_name(low) and not is_name(high):
                return _bounded(low, MINUS_INFINITY, high, "(", "]" if closed else ")")
            if is_name(high) and not is_name(low):
                return _bounded(high, low, INFINITY, "[" if closed else "(", ")")
        case Relation((low, name, high), ("<" | "<=" as first, "<" | "<=" as second)) if (
            is_name(name) and not is_name(low) and not is_name(high)
        ):
            return _bounded(name, low, high, "[" if first == "<=" else "(", "]" if second == "<=" else ")")
    return None


def _of_linear(relation: Relation) -> list[Piece] | None:
    """Inequalities such as |2x − 1| < 3: solved for the linear side, then for its variable."""
    lines = [side for side in relation.sides if variables(side)]
    if len(lines) != 1:
        return None
    inner = lines[0]
    stand_in: Node = ELEMENT
    if isinstance(inner, Apply) and inner.operation == "abs":
        inner, stand_in = inner.arguments[0], Apply("abs", (ELEMENT,))
    line = linear(inner)
    sides = tuple(stand_in if side is lines[0] else side for side in relation.sides)
    intervals = _of_relation(Relation(sides, relation.operators)) if line else None
    if line is None or intervals is None:
        return None
    slope, offset = line
    moved = [
        Piece(_solved(each.low, slope, offset), _solved(each.high, slope, offset), each.ends)
        for each in intervals
    ]
    if slope > 0:
        return moved
    return [Piece(high, low, _MIRRORED[ends[1]] + _MIRRORED[ends[0]]) for low, high, ends in moved]


def _solved(end: Node, slope: Fraction, offset: Fraction) -> Node:
    if end in (INFINITY, MINUS_INFINITY):
        return end if slope > 0 else INFINITY if end == MINUS_INFINITY else MINUS_INFINITY
    return divide(add(end, Number(-offset)), Number(slope))


def _bounded(name: Node, low: Node, high: Node, left: str, right: str) -> list[Piece] | None:
    """low < name < high; if name = |x|, the same for x and −x."""
    if not (isinstance(name, Apply) and name.operation == "abs"):
        return [Piece(low, high, left + right)]
    value = constant_value(low)
    if value is None:
        return None
    if value < 0:
        return [Piece(negate(high), high, {")": "(", "]": "["}[right] + right)]
    mirrored = Piece(
        _negative(high), _negative(low), {")": "(", "]": "["}[right] + {"(": ")", "[": "]"}[left]
    )
    return [mirrored, Piece(low, high, left + right)]


def _negative(node: Node) -> Node:
    return MINUS_INFINITY if node == INFINITY else negate(node)


def _ordered(piece: Piece) -> bool:
    return constant_value(piece.low) is not None and constant_value(piece.high) is not None


def _common(parts: tuple[Node, ...]) -> list[Piece] | None:
    """The intersection of several sets; None if it is empty, which no answer intends."""
    common: list[Piece] = [Piece(MINUS_INFINITY, INFINITY, "()")]
    for part in parts:
        intervals = pieces(part)
        if intervals is None or not all(map(_ordered, intervals)):
            return None
        overlaps = [_overlap(one, other) for one in common for other in intervals]
        common = [overlap for overlap in overlaps if overlap is not None]
    return common or None


def _overlap(one: Piece, other: Piece) -> Piece | None:
    lower = max((_lower(one), _lower(other)), key=lambda end: (end[0], end[1] == "("))
    upper = min((_upper(one), _upper(other)), key=lambda end: (end[0], end[1] == "]"))
    if lower[0] > upper[0] or (lower[0] == upper[0] and (lower[1] == "(" or upper[1] == ")")):
        return None
    return Piece(lower[2], upper[2], lower[1] + upper[1])


def _lower(piece: Piece) -> tuple[float, str, Node]:
    value = constant_value(piece.low)
    return (float("nan") if value is None else value, piece.ends[0], piece.low)


def _upper(piece: Piece) -> tuple[float, str, Node]:
    value = constant_value(piece.high)
    return (float("nan") if value is None else value, piece.ends[1], piece.high)


def _disjoint(intervals: list[Piece]) -> bool:
    merged = _merged(intervals)
    return merged is not None and len(merged) == len(intervals)


def _merged(intervals: list[Piece]) -> list[Piece] | None:
    if len(intervals) == 1:
        return intervals
    keyed = []
    for piece in intervals:
        low, high = constant_value(piece.low), constant_value(piece.high)
        if low is None or high is None:
            return None
        keyed.append((low, piece.ends[0] != "[", high, piece))
    keyed.sort(key=lambda each: each[:3])
    merged = [keyed[0]]
    for low, opened, high, piece in keyed[1:]:
        last_low, last_opened, last_high, last = merged[-1]
        touching = abs(low - last_high) <= 1e-12 * max(1.0, abs(low)) and (not opened or last.ends[1] == "]")
        if low < last_high - 1e-12 * max(1.0, abs(low)) or touching or low == last_high == float("inf"):
            if high > last_high or (high == last_high and piece.ends[1] == "]"):
                merged[-1] = (
                    last_low,
                    last_opened,
                    high,
                    Piece(last.low, piece.high, last.ends[0] + piece.ends[1]),
                )
        else:
            merged.append((low, opened, high, piece))
    return [each[3] for each in merged]


def mirrored(relation: Relation) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    if set(relation.operators) <= MIRRORED.keys():
        return relation.sides[::-1], tuple(MIRRORED[operator] for operator in relation.operators[::-1])
    return relation.sides, relation.operators
