"""One normal form per answer, for grouping equal answers among themselves.

"Equal" for the verifier is not transitive: 5 = 5 m = 500 cm = 500, and 0.333333 passes for 1/3. That leniency
is for the comparison with a gold answer. Here equality is exact and keeps the unit: 5 m and 500 cm have one
form and 5 has another; 33.3333 % is 333333/1000000 and not 1/3. A form is computed from its answer alone, so
answers with equal keys are equal whatever else was answered, and in any order.

What may be read in several ways has one reading here:

    f(x) = 2x + 1, y = 2x + 1, 2x − y + 1 = 0    the expression 2x + 1, named f(x) or y
    x = 5, x ∈ {5}, {5}, 2x = 10                 5, named x or not at all
    12 apples, 12 square units, 12 个            12, with a noun or without
    $18, 1800 cents, 18; 90°, 90                 18 and 90: a number alone is in dollars or degrees
    x = 1, y = 2; (1, 2); 1; 2                   the pair (1, 2), in the order of the names
    1, 2; {1, 2}; x_1 = 1, x_2 = 2               the set; 1, 1, 2 keeps both ones
    0 < x < 1, x ∈ (0, 1)                        (0, 1), which is also how a point is written
    1 : 2                                        1/2; with three terms or more relative to the first
    (A), A. 5 m                                  the choice A

Names and nouns are not in the key: they tell answers apart only where two with one key have different ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

from mathloop.answers import matrices, names, ranges
from mathloop.answers.exact import variables
from mathloop.answers.fingerprints import (
    Part,
    digest,
    expression_part,
    infinity_part,
    needs_base,
    relation_part,
    solve,
)
from mathloop.answers.normalization import normalize
from mathloop.answers.nouns import droppable, folded, names_no_unit
from mathloop.answers.numbers import read_number
from mathloop.answers.responses import final_answer
from mathloop.answers.simplification import is_opaque, letters_as_unit, simplify, times
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
from mathloop.answers.units import scale
from mathloop.answers.verification import THOUSANDS, choices, explained_choice, is_word, readings
from mathloop.answers.words import phrase

LONGEST = 1000
"""Characters; a longer answer equals only what is written the same."""
MOST_PARTS = 40
"""Expressions in one answer; one with more equals only what is written the same."""

_COMPARED = frozenset(("=", "<", "<=", "!="))
"""Relations whose two sides may be moved across."""
_EMPTY = "symbol empty set"
_IMPLIED = frozenset(("dollar", "yuan", "euro", "sterling", "rupee", "won", "rouble", "yen", "angle"))
"""Units that answers often leave out: a number alone is taken to be in them, and they count as nouns."""


@dataclass(frozen=True, slots=True)
class Form:
    """The meaning of an answer: its shape, and the expressions in it."""

    shape: str
    """The kind of answer with its unit, connectives and brackets. Forms of different shapes are different."""
    parts: tuple[Part, ...] = ()
    name: str = ""
    """The x of x = 5; empty for an answer without a name."""
    noun: str = ""
    """The apple of 12 apples; empty for an answer without a noun."""

    @property
    def key(self) -> tuple[str, ...]:
        """Equal keys: equal answers, but for name and noun."""
        return (self.shape, *(part.mark for part in self.parts))


def normal_form(answer: str) -> Form:
    """The answer's form. Raises nothing, whatever the answer is."""
    return _cached(answer) if len(answer) <= LONGEST else _compute(answer)


def _compute(answer: str) -> Form:
    answer = final_answer(answer)
    text = normalize(answer)
    if len(text) > LONGEST:
        return _of_text(text)
    try:
        form = _read(answer, text)
    except Exception:  # too deep or too large; and, as for the verifier, an answer must never stop a run
        return _of_text(text)
    return form if len(form.parts) <= MOST_PARTS else _of_text(text)


_cached = lru_cache(maxsize=1 << 14)(_compute)


def _read(answer: str, text: str) -> Form:
    number = read_number(text)
    if number is not None:
        return _form(Number(number))
    if letters := choices(text):
        return Form(f"choice {' '.join(sorted(letters))}")
    letter = explained_choice(text)
    if letter and not text.lstrip("( ")[1:].lstrip(" )").startswith(":"):  # A: 3 names a value
        return Form(f"choice {letter}")
    nodes = readings(answer)
    node = nodes[-1] if THOUSANDS.search(text) else nodes[0]
    if is_word(text) and not isinstance(node, Number) and text.lower() not in CONSTANTS:
        return Form(f"words {phrase(text)}")
    if matrices.are_matrices(node):
        mark = matrices.fingerprint(node)
        return _of_text(text) if mark is None else Form(f"matrices {digest(mark)}")
    form = _form(matrices.without_inverses(node))
    return form if form.shape != "words " else _of_text(text)


def _of_text(text: str) -> Form:
    """The form of what is only text."""
    return Form(f"text {digest(''.join(text.split()))}")


def _form(node: Node, *, inner: bool = False) -> Form:
    """The form of a tree; `inner` of an item of a collection."""
    node = simplify(node)
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
            return _relation(node, inner=inner)
        case Collection():
            return _collection(node, inner=inner)
    rate = letters_as_unit(node)
    if rate is not None and "/" in rate.unit:  # 20 m/s
        return _quantity(rate.value, rate.unit)
    return _expression(node)


def _expression(node: Node, unit: str = "") -> Form:
    if node in (ranges.INFINITY, ranges.MINUS_INFINITY):
        return Form(f"value{unit}", (infinity_part(node),))
    return Form(f"value{' log' if needs_base(node) else ''}{unit}", (expression_part(node),))


def _quantity(value: Node, unit: str) -> Form:
    size = scale(unit)
    if size is None:
        if names_no_unit(unit):
            return _form(value)
        if droppable(unit):
            return replace(_form(value), noun=folded(unit))
        return _with_unit(value, f" {folded(unit)}")
    dimension, factor = size
    if dimension == "percent":
        return _form(times(value, factor / 100))
    if dimension == "radian":
        degrees = multiply(times(value, Fraction(180)), power(Symbol("pi"), MINUS_ONE))
        return replace(_form(degrees), noun="angle")
    if dimension in _IMPLIED:
        return replace(_form(times(value, factor)), noun=dimension)
    return _with_unit(times(value, factor), f" [{dimension}]")


def _with_unit(value: Node, unit: str) -> Form:
    value = simplify(value)
    if isinstance(value, Number | Symbol | Apply):
        return _expression(value, unit)
    form = _form(value)
    return replace(form, shape=form.shape + unit)


def _relation(relation: Relation, *, inner: bool) -> Form:
    relation = ranges.ascending(relation)
    named = names.named_value(relation)
    if named is not None and "y" not in variables(named[1]) and names.true_chain(relation):
        form = _form(names.in_order_of_names(*named), inner=inner)
        return replace(form, name=_name_text(named[0]))
    operators = tuple("=" if operator == "~" else operator for operator in relation.operators)
    if not set(operators) & {"=", "in"} and (pieces := ranges.pieces(relation)) is not None:
        return replace(_of_pieces(pieces), name=_name_text(ranges.variable(relation)))
    if operators == ("=",) and (solution := solve(relation)) is not None:
        return replace(_form(solution[1]), name=_name_text(solution[0]))
    if len(operators) == 1 and operators[0] in _COMPARED and not any(map(_is_compound, walk(relation))):
        log = " log" if any(map(needs_base, relation.sides)) else ""
        return Form(f"relation {operators[0]}{log}", (relation_part(Relation(relation.sides, operators)),))
    return _ordered("chain " + " ".join(operators), relation.sides)


def _name_text(name: Node | None) -> str:
    """A name as text, empty for none; f(x) goes by y, as a curve does."""
    match name:
        case None | Symbol("element") | Symbol("nothing"):
            return ""
        case Apply("call", (Symbol("f"), Symbol(argument))) if argument.islower():
            return str(Symbol("y"))
    return str(name)


def _is_compound(node: Node) -> bool:
    return isinstance(node, Collection | Quantity | Text)


def _collection(node: Collection, *, inner: bool) -> Form:
    kind, items = node.kind, node.items
    assigned = names.assignments(node)
    if assigned:
        return _ordered("tuple", assigned)
    if ranges.is_range(node) and (pieces := ranges.pieces(node)) is not None:
        return _of_pieces(pieces)
    if kind in ("set", "list", "pieces"):
        return _unordered(items, distinct=kind == "set", inner=inner)
    if kind == "matrix" and all(isinstance(row, Collection) and len(row.items) == 1 for row in items):
        return _ordered("tuple", [row.items[0] for row in items if isinstance(row, Collection)])
    if kind == "ratio" and node.ends != TIME:
        return _ratio(items)
    return _ordered("tuple" if kind == "sequence" else f"{kind}{node.ends}", items)


def _ratio(items: Sequence[Node]) -> Form:
    if ZERO in items:
        return _ordered("ratio", items)
    if len(items) == 2:
        return _form(divide(items[0], items[1]))
    return _ordered("ratio", [divide(item, items[0]) for item in items])


def _of_pieces(pieces: Sequence[ranges.Piece]) -> Form:
    """Intervals in order; one open interval as the pair that it is written as, single numbers as a set."""
    if len(pieces) == 1 and pieces[0].ends == "()":
        return _ordered("tuple", pieces[0][:2])
    if all(piece.low == piece.high and piece.ends == "[]" for piece in pieces):
        return _unordered([piece.low for piece in pieces], distinct=True, inner=False)
    ends = " ".join(piece.ends for piece in pieces)
    return _ordered(f"intervals {ends}", [end for piece in pieces for end in piece[:2]])


def _ordered(kind: str, items: Iterable[Node]) -> Form:
    return _assembled(kind, [_form(item, inner=True) for item in items])


def _unordered(items: Sequence[Node], *, distinct: bool, inner: bool) -> Form:
    forms = [_form(item, inner=True) for item in items]
    named = {_family(item) for item in items if isinstance(item, Relation)}
    name = ""
    if len(named) <= 1:  # x = 1 or x = 2; but of a > 0, b > 0 each keeps its name
        name = "".join(named)
        forms = [replace(form, name="") for form in forms]
    forms.sort(key=_sort_key)
    if distinct:
        forms = list({(form.key, form.name, form.noun): form for form in forms}.values())
    if len(forms) == 1 and not inner and forms[0].shape != _EMPTY:
        return replace(forms[0], name=name or forms[0].name)
    return replace(_assembled("set", forms), name=name)


def _family(relation: Relation) -> str:
    """The name that a condition is about; x_1 = 1 and x_2 = 3 are two values of one x."""
    named = names.named_value(relation)
    name = ranges.variable(ranges.ascending(relation)) if named is None else named[0]
    return _name_text(name.arguments[0] if isinstance(name, Apply) and name.operation == "index" else name)


def _sort_key(form: Form) -> tuple[str, list[str], tuple[str, ...], str]:
    """Sorts the items of a set by value, so that spellings of one number come to the same place."""
    values = [(part.values or (None,))[0] for part in form.parts]
    shown = ["" if value is None else f"{value.real + 0.0:+.9e} {value.imag + 0.0:+.9e}" for value in values]
    return form.shape, shown, form.key, form.name + form.noun


def _assembled(kind: str, forms: Sequence[Form]) -> Form:
    """One form of several, whose names and nouns belong to its shape."""
    shapes = (" ".join(filter(None, (form.name, form.shape, form.noun))) for form in forms)
    return Form(f"{kind}({', '.join(shapes)})", tuple(part for form in forms for part in form.parts))
