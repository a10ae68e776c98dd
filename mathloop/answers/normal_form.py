"""One normal form per answer, for grouping equal answers among themselves.

"Equal" for the verifier is not transitive: 5 = 5 m = 500 cm = 500, and 0.333333 passes for 1/3. That leniency
is for the comparison with a gold answer. Here equality is exact and keeps the unit: 5 m and 500 cm have one
form and 5 has another; 33.3333 % is 333333/1000000 and not 1/3. A form is computed from its answer alone, so
answers with equal keys are equal whatever else was answered, and in any order.

What may be written in several ways has one reading here:

    x = 5, x ∈ {5}, {5}         5; but y = 2x + 1 with a lone small letter stays an equation
    x = 1, y = 2                (1, 2), in the order of the names
    1, 2 and {1, 2}             the set; 1, 1, 2 keeps both ones
    0 < x < 1, x ∈ (0, 1)       (0, 1), which is also how a point is written
    1 : 2                       1/2; with three terms or more relative to the first
    (A), A. 5 m                 the choice A
    12 square units, 12 个       12; any other noun counts as a unit of its own
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from hashlib import blake2b

from mathloop.answers import names, ranges
from mathloop.answers.deadline import Undecided
from mathloop.answers.exact import variables
from mathloop.answers.fingerprints import Part, expression_part, infinity_part, relation_part
from mathloop.answers.normalization import normalize
from mathloop.answers.notation import COUNTERS
from mathloop.answers.numbers import read_number
from mathloop.answers.settling import is_opaque, lettered, settled, times
from mathloop.answers.syntax import (
    MINUS_ONE,
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
    divide,
    multiply,
    power,
    walk,
)
from mathloop.answers.tokens import CONSTANTS
from mathloop.answers.units import folded, names_no_unit, scale
from mathloop.answers.verification import choices, explained_choice, is_word, readings
from mathloop.answers.words import phrase

LONGEST = 1000
"""Characters; a longer answer equals only what is written the same."""
MOST_PARTS = 40
"""Expressions in one answer; one with more equals only what is written the same."""


@dataclass(frozen=True, slots=True)
class Form:
    """What an answer says: its shape, and the expressions in it."""

    shape: str
    """The kind of answer with its unit, connectives and brackets. Forms of different shapes are different."""
    parts: tuple[Part, ...] = ()

    @property
    def key(self) -> tuple[str, ...]:
        """Equal keys: equal answers."""
        return (self.shape, *(part.mark for part in self.parts))


def normal_form(answer: str) -> Form:
    """The answer's form. Raises nothing, whatever the answer is."""
    return _short(answer) if len(answer) <= LONGEST else _computed(answer)


def _computed(answer: str) -> Form:
    text = normalize(answer)
    if len(text) > LONGEST:
        return _of_text(text)
    try:
        form = _read(answer, text)
    except (Undecided, RecursionError, ArithmeticError, ValueError):
        return _of_text(text)
    return form if len(form.parts) <= MOST_PARTS else _of_text(text)


_short = lru_cache(maxsize=1 << 14)(_computed)


def _read(answer: str, text: str) -> Form:
    number = read_number(text)
    if number is not None:
        return _form(Number(number))
    if letters := choices(text):
        return Form(f"choice {' '.join(sorted(letters))}")
    letter = explained_choice(text)
    if letter and not text.lstrip("( ")[1:].lstrip(" )").startswith(":"):  # A: 3 names a value
        return Form(f"choice {letter}")
    if is_word(text) and text.lower() not in CONSTANTS:
        return Form(f"words {phrase(text)}")
    form = _form(readings(answer)[0])
    return form if form.shape != "words " else _of_text(text)


def _of_text(text: str) -> Form:
    """The form of what is only text."""
    squeezed = "".join(text.split()).encode("utf-8", "surrogatepass")
    return Form(f"text {blake2b(squeezed, digest_size=16).hexdigest()}")


def _form(node: Node, *, inner: bool = False, labeled: bool = False) -> Form:
    """The form of a tree; `inner` of an item of a collection; `labeled` keeps the name in `x = 5`."""
    node = settled(node)
    match node:
        case Text(words):
            return Form(f"words {words}")
        case Symbol("R") if not inner:
            return _of_pieces([ranges.Piece(ranges.MINUS_INFINITY, ranges.INFINITY, "()")])
        case Symbol(name) if is_opaque(node):
            return Form(f"symbol {name}")
        case Quantity(value, unit):
            return _quantity(value, unit)
        case Relation():
            return _relation(node, inner=inner, labeled=labeled)
        case Collection():
            return _collection(node, inner=inner)
    rate = lettered(node)
    if rate is not None and "/" in rate.unit:  # 20 m/s; but 20 m without a space is 20·m
        return _quantity(rate.value, rate.unit)
    return _expression(node)


def _expression(node: Node, unit: str = "") -> Form:
    if node in (ranges.INFINITY, ranges.MINUS_INFINITY):
        return Form(f"value{unit}", (infinity_part(node),))
    return Form(f"value{_baseless_log(node)}{unit}", (expression_part(node),))


def _baseless_log(node: Node) -> str:
    """What sets an expression apart whose logarithm may be natural or decimal."""
    logs = (part for part in walk(node) if isinstance(part, Apply) and part.operation == "log")
    return " log" if any(len(log.arguments) == 1 for log in logs) else ""


def _quantity(value: Node, unit: str) -> Form:
    size = scale(unit)
    if size is None:
        if names_no_unit(unit) or unit in COUNTERS:
            return _form(value)
        return _with_unit(value, f" {folded(unit)}")
    dimension, factor = size
    if dimension == "percent":
        return _form(times(value, Fraction(1, 100)))
    if dimension == "radian":
        return _with_unit(multiply(times(value, Fraction(180)), power(Symbol("pi"), MINUS_ONE)), " [angle]")
    return _with_unit(times(value, factor), f" [{dimension}]")


def _with_unit(value: Node, unit: str) -> Form:
    value = settled(value)
    if isinstance(value, Number | Symbol | Apply):
        return _expression(value, unit)
    form = _form(value)
    return Form(form.shape + unit, form.parts)


def _relation(relation: Relation, *, inner: bool, labeled: bool) -> Form:
    relation = ranges.ascending(relation)
    named = names.named_value(relation)
    if named is not None and not _is_curve(relation, *named) and names.true_chain(relation):
        form = _form(names.in_order_of_names(*named), inner=inner)
        return _labeled(form, named[0]) if labeled else form
    operators = tuple("=" if operator == "~" else operator for operator in relation.operators)
    if not set(operators) & {"=", "in"} and (found := ranges.pieces(relation)) is not None:
        form = _of_pieces(found)
        return _labeled(form, ranges.variable(relation)) if labeled else form
    log = "".join(sorted({_baseless_log(side) for side in relation.sides}))
    if len(operators) == 1 and operators != ("in",) and _is_plain(relation):
        return Form(f"relation {operators[0]}{log}", (relation_part(Relation(relation.sides, operators)),))
    return _ordered("chain " + " ".join(operators), relation.sides)


def _labeled(form: Form, name: Node | None) -> Form:
    return Form(f"{name} is {form.shape}", form.parts)


def _is_curve(relation: Relation, name: Node, value: Node) -> bool:
    """Whether y = 2x + 1 is an equation between variables; f(x) = 2x + 1 is a name with its value."""
    lone = isinstance(name, Symbol) and len(name.name) == 1 and name.name.islower()
    return lone and relation.operators == ("=",) and _is_plain(value) and bool(variables(value))


def _is_plain(node: Node) -> bool:
    return not any(isinstance(part, Collection | Quantity | Text) for part in walk(node))


def _collection(node: Collection, *, inner: bool) -> Form:
    kind, items = node.kind, node.items
    assigned = names.assignments(node)
    if assigned:
        return _ordered("tuple", assigned)
    if _is_range(node) and (found := ranges.pieces(node)) is not None:
        return _of_pieces(found)
    if kind in ("set", "list", "pieces"):
        return _unordered(items, distinct=kind == "set", inner=inner)
    if kind == "matrix" and all(isinstance(row, Collection) and len(row.items) == 1 for row in items):
        return _ordered("tuple", [row.items[0] for row in items if isinstance(row, Collection)])
    if kind == "ratio" and node.ends != TIME:
        return _ratio(items)
    return _ordered(f"{kind}{node.ends}", items)


def _is_range(node: Collection) -> bool:
    """Whether a collection means a set of reals; a list of pairs alone is a list of points."""
    if node.kind == "list":
        return any(isinstance(item, Relation) or _is_interval(item) for item in node.items)
    return _is_interval(node)


def _is_interval(node: Node) -> bool:
    return isinstance(node, Collection) and node.kind in ("interval", "union", "difference")


def _ratio(items: Sequence[Node]) -> Form:
    if ZERO in items:
        return _ordered("ratio", items)
    if len(items) == 2:
        return _form(divide(items[0], items[1]))
    return _ordered("ratio", [divide(item, items[0]) for item in items])


def _of_pieces(found: Sequence[ranges.Piece]) -> Form:
    """Intervals in order; one open interval as the pair that it is written as, single numbers as a set."""
    if len(found) == 1 and found[0].ends == "()":
        return _ordered("tuple", found[0][:2])
    if all(piece.low == piece.high and piece.ends == "[]" for piece in found):
        return _unordered([piece.low for piece in found], distinct=True, inner=False)
    ends = " ".join(piece.ends for piece in found)
    return _ordered(f"intervals {ends}", [end for piece in found for end in piece[:2]])


def _ordered(kind: str, items: Iterable[Node]) -> Form:
    return _assembled(kind, [_form(item, inner=True, labeled=True) for item in items])


def _unordered(items: Sequence[Node], *, distinct: bool, inner: bool) -> Form:
    labeled = len({_family(item) for item in items if isinstance(item, Relation)}) > 1
    forms = sorted((_form(item, inner=True, labeled=labeled) for item in items), key=_place)
    if distinct:
        forms = list({form.key: form for form in forms}.values())
    if len(forms) == 1 and not inner:
        return forms[0]
    return _assembled("set", forms)


def _family(relation: Relation) -> Node | None:
    """What a condition is about; x_1 = 1 and x_2 = 3 are two values of one x."""
    named = names.named_value(relation)
    name = ranges.variable(ranges.ascending(relation)) if named is None else named[0]
    return name.arguments[0] if isinstance(name, Apply) and name.operation == "index" else name


def _place(form: Form) -> tuple[str, list[str], tuple[str, ...]]:
    """Where a form goes in a set: by value, so that spellings of one number come to the same place."""
    values = [(part.values or (None,))[0] for part in form.parts]
    shown = ["" if value is None else f"{value.real + 0.0:+.9e} {value.imag + 0.0:+.9e}" for value in values]
    return form.shape, shown, form.key


def _assembled(kind: str, forms: Sequence[Form]) -> Form:
    shape = f"{kind}({', '.join(form.shape for form in forms)})"
    return Form(shape, tuple(part for form in forms for part in form.parts))
