"""Names on the left of an equals sign: `x`, `f(n)`, `a_3`, `|AB|`, `(x, y)`, `S_1 : S`; and matrices."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from mathloop.answers.expressions import constant_value
from mathloop.answers.syntax import (
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
    rebuild,
    walk,
)

_OF_ANGLES = frozenset(("sin", "cos", "tan", "cot"))


def is_name(node: Node) -> bool:
    """Whether the node only names the quantity that the problem asks for."""
    match node:
        case Symbol(name):
            return name not in ("pi", "oo")
        case Text():
            return True
        case Apply("index" | "call" | "prime", (head, *_)):
            return is_name(head)
        case Apply("abs", (inner,)):
            return is_name(inner)
        case Apply("mul", factors):
            return all(_is_point(factor) for factor in factors)
        case Apply("pow", (base, Number(Fraction(numerator=-1, denominator=1)))):
            return base == Symbol("f") or (isinstance(base, Apply) and is_name(base))
        case Apply(operation, (inner,)) if operation in _OF_ANGLES:
            return _is_point(inner) or (isinstance(inner, Symbol) and _names_angle(inner.name))
        case Collection("tuple" | "ratio" | "list", items):
            return all(is_name(item) for item in items)
    return False


def _names_angle(name: str) -> bool:
    return name.startswith("angle") or (
        len(name) > 2 and name.isalpha() and name not in ("element", "nothing")
    )


def _is_point(node: Node) -> bool:
    """A capital letter, such as in the segment AB, with an index or as a denominator."""
    match node:
        case Symbol(name):
            return len(name) == 1 and name.isupper()
        case Apply("index", (Symbol(name), *_)):
            return len(name) == 1 and name.isupper()
        case Apply("pow", (base, Number(Fraction(numerator=-1, denominator=1)))):
            return _is_point(base) or (isinstance(base, Apply) and is_name(base))
    return False


def named_value(relation: Relation) -> tuple[Node, Node] | None:
    """The name and the value of `x = 5`, `x = 10/2 = 5`, `x = 1/3 ≈ 0.33`, `x ∈ [0, 1]`; None without a name.

    A calculation without a name, `10/2 = 5` or `√3/3 ≈ 0.577`, gets the name `nothing`.
    """
    sides, operators = relation.sides, relation.operators
    if not set(operators) <= {"=", "~", "in"}:
        return None
    while len(sides) > 1 and operators[-1] == "~" and not is_name(sides[-2]):
        sides, operators = sides[:-1], operators[:-1]
    named = [side for side in sides if is_name(side)]
    if len(sides) == 1:
        return Symbol("nothing"), sides[0]
    if len(sides) == 2 and _says_itself(sides):
        return None  # x = 2x + 1 is an equation
    if is_name(sides[-1]) and len(sides) == 2 and not is_name(sides[0]) and operators != ("in",):
        return sides[1], sides[0]
    if named and (is_name(sides[0]) or len(sides) > 2):
        return named[0], sides[-1]
    if all(_constant(side) for side in sides):
        return Symbol("nothing"), sides[-1]
    return None


def _says_itself(sides: tuple[Node, ...]) -> bool:
    """Whether one side is a variable that the other one contains."""
    one, other = sides
    return any(
        isinstance(name, Symbol) and not is_name(value) and any(part == name for part in walk(value))
        for name, value in ((one, other), (other, one))
    )


def true_chain(relation: Relation) -> bool:
    """Whether the constants of `x = 10/2 = 5` are equal: 4 = 5 has no value."""
    places = [place for place, side in enumerate(relation.sides) if is_name(side)]
    after = (
        relation.sides[places[-1] + 1 :]
        if places and places[-1] + 1 < len(relation.sides)
        else relation.sides
    )
    constants = [value for side in after if (value := constant_value(side)) is not None]
    close = "~" in relation.operators
    return close or all(abs(value - constants[0]) <= 1e-9 * max(1.0, abs(value)) for value in constants)


def in_order_of_names(name: Node, value: Node) -> Node:
    """The value of `(y, x) = (2, 3)` as that of `(x, y)`."""
    match name, value:
        case Collection("tuple", names), Collection("tuple", values) if len(names) == len(values):
            return Collection("tuple", _by_name(names, values))
    return value


def _by_name(names: Sequence[Node], values: Sequence[Node]) -> tuple[Node, ...]:
    letters = sorted(name.name for name in names if isinstance(name, Symbol) and len(name.name) == 1)
    if len(letters) < len(names) or ord(letters[-1]) - ord(letters[0]) != len(letters) - 1:
        return tuple(values)  # x and p have no natural order
    pairs = sorted(zip(names, values, strict=True), key=lambda pair: str(pair[0]))
    return tuple(value for _, value in pairs)


def _constant(node: Node) -> bool:
    return not isinstance(node, Collection) and all(
        isinstance(part, (Number, Apply, Quantity)) or part in (Symbol("pi"), Symbol("e"), Symbol("i"))
        for part in walk(node)
    )


def same_name(left: tuple[Node, Node], right: tuple[Node, Node]) -> Node | None:
    """The right value, in the variable of the left one, if both name the same thing; else None."""
    one, other = left[0], right[0]
    nothing = Symbol("nothing")
    if one == other or nothing in (one, other):
        return right[1]
    match one, other:
        case Apply("call", (head, Symbol() as ours)), Apply("call", (other_head, Symbol() as theirs)):
            small = ours.name.islower() and theirs.name.islower()
            depend = small or (
                any(part == theirs for part in walk(right[1])) and any(part == ours for part in walk(left[1]))
            )
            if head == other_head and depend and not any(part == ours for part in walk(right[1])):
                return rebuild(right[1], {theirs: ours})  # P(A) is not P(B)
        case (Apply("index", (head, _)), Symbol() as plain) | (Symbol() as plain, Apply("index", (head, _))):
            if head == plain:
                return right[1]
        case Apply("index", (head, Symbol() as ours)), Apply("index", (other_head, Symbol() as theirs)):
            if head == other_head and not any(part == ours for part in walk(right[1])):
                return rebuild(right[1], {theirs: ours})
        case (Symbol("y"), Apply("call", (Symbol(), Symbol()))) | (
            Apply("call", (Symbol(), Symbol())),
            Symbol("y"),
        ):
            return right[1]
    return None


def solved_for_same(left: Relation, right: Relation) -> bool:
    """Whether both equations have the same variables, at least two."""
    one, other = (
        {part for side in relation.sides for part in walk(side) if isinstance(part, Symbol)}
        for relation in (left, right)
    )
    return one == other and len(one) > 1


def assignments(collection: Collection) -> tuple[Node, ...] | None:
    """The values of `x = 1, y = 2`, if at least two different things are named; else None."""
    if collection.kind not in ("list", "sequence") or len(collection.items) < 2:
        return None
    named = [named_value(item) if isinstance(item, Relation) else None for item in collection.items]
    pairs = [pair for pair in named if pair is not None]
    if len(pairs) != len(named) or len({_family(pair[0]) for pair in pairs}) < 2:
        return None
    return _by_name([pair[0] for pair in pairs], [pair[1] for pair in pairs])


def roots(collection: Collection) -> tuple[Node, ...] | None:
    """The values of x_1 = 1, x_2 = 3, whose numbering means nothing; None for any other list."""
    if collection.kind not in ("list", "sequence") or len(collection.items) < 2:
        return None
    values = []
    for item in collection.items:
        match item:
            case Relation((Apply("index", (Symbol("x"), Number())), value), ("=",)):
                values.append(value)
            case _:
                return None
    return tuple(values)


def _family(name: Node) -> Node:
    """The name without its index: `x_1` and `x_2` are two values of x, in any order."""
    return name.arguments[0] if isinstance(name, Apply) and name.operation == "index" else name


def as_vector(matrix: Collection) -> tuple[Node, ...] | None:
    """The entries of a matrix with a single column or row; else None."""
    rows = [row.items for row in matrix.items if isinstance(row, Collection)]
    if all(len(row) == 1 for row in rows):
        return tuple(row[0] for row in rows)
    return rows[0] if len(rows) == 1 else None


def evaluate_matrices(node: Node) -> Node:
    """A sum or product of matrices as one matrix, or a determinant; the node itself if not possible."""
    if not isinstance(node, Apply) or not any(isinstance(part, Collection) for part in walk(node)):
        return node
    if node.operation == "determinant" and isinstance(node.arguments[0], Collection):
        square = _rows(node.arguments[0])
        return _determinant(square) if len(square) == len(square[0]) <= 4 else node
    parts = [evaluate_matrices(argument) for argument in node.arguments]
    matrices = [part for part in parts if isinstance(part, Collection) and part.kind == "matrix"]
    if node.operation == "add" and len(matrices) == len(parts):
        total = matrices[0]
        for matrix in matrices[1:]:
            summed = _entrywise(total, matrix)
            if summed is None:
                return node
            total = summed
        return total
    if node.operation == "mul" and matrices and len(matrices) < 6:
        factors = [part for part in parts if part not in matrices]
        product: Collection | None = matrices[0]
        for matrix in matrices[1:]:
            product = _product(product, matrix) if product is not None else None
        if product is None:
            return node
        rows = [
            Collection("row", tuple(multiply(*factors, entry) for entry in row.items))
            for row in product.items
            if isinstance(row, Collection)
        ]
        return Collection("matrix", tuple(rows))
    return node


def _determinant(rows: list[tuple[Node, ...]]) -> Node:
    """Laplace expansion along the first row."""
    if len(rows) == 1:
        return rows[0][0]
    terms = []
    for column, entry in enumerate(rows[0]):
        minor = _determinant([row[:column] + row[column + 1 :] for row in rows[1:]])
        terms.append(multiply(Number(Fraction((-1) ** column)), entry, minor))
    return add(*terms)


def _rows(matrix: Collection) -> list[tuple[Node, ...]]:
    return [row.items for row in matrix.items if isinstance(row, Collection)]


def _entrywise(left: Collection, right: Collection) -> Collection | None:
    one, other = _rows(left), _rows(right)
    if [len(row) for row in one] != [len(row) for row in other]:
        return None
    return Collection(
        "matrix", tuple(Collection("row", tuple(map(add, *pair))) for pair in zip(one, other, strict=True))
    )


def _product(left: Collection, right: Collection) -> Collection | None:
    one, other = _rows(left), _rows(right)
    if len(one[0]) != len(other) or len(one) * len(other) * len(other[0]) > 1000:
        return None
    columns = list(zip(*other, strict=True))
    return Collection(
        "matrix",
        tuple(
            Collection("row", tuple(add(*map(multiply, row, column)) for column in columns)) for row in one
        ),
    )
