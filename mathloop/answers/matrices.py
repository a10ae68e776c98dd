"""Products of matrices, which do not commute: compared by their values for random matrices.

Two expressions that agree for random 3 × 3 matrices are equal for all matrices unless the difference is of
degree six or more (Amitsur and Levitzki 1950).
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from mathloop.answers.exact import Exact, Undefined, random_value
from mathloop.answers.names import is_name
from mathloop.answers.syntax import Apply, Node, Number, Relation, Symbol, rebuild, walk

SIZE = 3
MOST_FACTORS = 40
Matrix = tuple[tuple[Fraction, ...], ...]
_IDENTITIES = frozenset(("I", "E"))
_ONE: Matrix = tuple(tuple(Fraction(row == column) for column in range(SIZE)) for row in range(SIZE))


def are_matrices(*nodes: Node) -> bool:
    """Whether letters of any of these are matrices: one is transposed, or inverted beside another."""
    return any(_marked(node) for node in nodes)


def _marked(node: Node) -> bool:
    parts = [part for part in walk(node) if isinstance(part, Apply)]
    if any(part.operation == "transpose" for part in parts):
        return True
    products = [part.arguments for part in parts if part.operation == "mul"]
    if any(
        any(isinstance(factor, Apply) and factor.operation == "inverse" for factor in factors)
        and sum(any(_capitals(factor)) for factor in factors) > 1
        for factors in products
    ):
        return True
    orders = [tuple(factor for factor in factors if any(_capitals(factor))) for factors in products]
    return any(
        one != other and len(one) > 1 and sorted(map(str, one)) == sorted(map(str, other))
        for place, one in enumerate(orders[:8])
        for other in orders[place + 1 : 8]
    )


def _capitals(node: Node) -> Iterator[str]:
    for part in walk(node):
        if isinstance(part, Symbol) and len(part.name) == 1 and part.name.isupper():
            yield part.name


def without_inverses(node: Node) -> Node:
    """The tree with inverses of numbers as powers."""
    change: dict[Node, Node] = {
        part: Apply("pow", (part.arguments[0], Number(Fraction(-1))))
        for part in walk(node)
        if isinstance(part, Apply) and part.operation == "inverse"
    }
    for part in list(change):  # the innermost first: (A^{-1}B)^{-1}
        change[part] = rebuild(change[part], {key: value for key, value in change.items() if key != part})
    return rebuild(node, change) if change else node


def equal_matrices(left: Node, right: Node) -> bool:
    """Whether two expressions of matrices are equal, or two equations side by side."""
    if left == right:
        return True
    if isinstance(left, Relation) and isinstance(right, Relation):
        return left.operators == right.operators and all(
            equal_matrices(one, other) for one, other in zip(left.sides, right.sides, strict=True)
        )
    left, right = _value_of_named(left), _value_of_named(right)
    names = _transposed(left) | _transposed(right)
    try:
        return all(
            _Matrices(point, names).value(left) == _Matrices(point, names).value(right) for point in (0, 2)
        )
    except (Undefined, ArithmeticError, ValueError, TypeError):
        return False


def fingerprint(node: Node) -> str | None:
    """A text that equal expressions of matrices share; None where there is no value."""
    try:
        return str(_Matrices(0, _transposed(node)).value(_value_of_named(node)))
    except (Undefined, ArithmeticError, ValueError, TypeError):
        return None


def _value_of_named(node: Node) -> Node:
    match node:
        case Relation((name, value), ("=",)) if is_name(name):
            return value
    return node


def _transposed(node: Node) -> set[Node]:
    """Letters that are transposed somewhere, small ones too: vectors."""
    return {
        part.arguments[0] for part in walk(node) if isinstance(part, Apply) and part.operation == "transpose"
    }


class _Matrices:
    """Evaluates an expression of matrices at one point: a number or a matrix."""

    def __init__(self, point: int, transposed: set[Node]) -> None:
        self.point, self.transposed = point, transposed
        self._steps = 0

    def value(self, node: Node) -> Fraction | Matrix:
        self._steps += 1
        if self._steps > 200:
            raise Undefined
        match node:
            case Symbol(name) | Apply("index", (Symbol(name), _)) if node in self.transposed or (
                len(name) == 1 and name.isupper()
            ):
                return _ONE if name in _IDENTITIES else self._random(repr(node))
            case Apply("transpose", (inner,)):
                matrix = self._matrix(inner)
                return tuple(zip(*matrix, strict=True))
            case Apply("inverse", (inner,)):
                return _inverse(self._matrix(inner))
            case Apply("add", terms):
                return _sum([self.value(term) for term in terms])
            case Apply("mul", factors):
                total: Fraction | Matrix = Fraction(1)
                for factor in factors[:MOST_FACTORS]:
                    total = _product(total, self.value(factor))
                return total
            case Apply("pow", (base, Number(exponent, _))):
                return self._power(base, exponent)
            case Apply("abs" | "determinant", (inner,)) if isinstance(value := self.value(inner), tuple):
                return _determinant(value)
            case Apply("call", (Symbol("tr" | "Tr" | "trace"), inner)):
                matrix = self._matrix(inner)
                return sum((matrix[place][place] for place in range(SIZE)), Fraction(0))
            case Symbol() | Number():
                return Exact(self.point).value(node)
        raise Undefined

    def _matrix(self, node: Node) -> Matrix:
        value = self.value(node)
        if not isinstance(value, tuple):
            raise Undefined
        return value

    def _random(self, name: str) -> Matrix:
        return tuple(
            tuple(random_value(f"{name} {row} {column}", self.point, True) for column in range(SIZE))
            for row in range(SIZE)
        )

    def _power(self, base: Node, exponent: Fraction) -> Fraction | Matrix:
        value = self.value(base)
        if not isinstance(value, tuple):
            return Exact(self.point).value(Apply("pow", (Number(value), Number(exponent))))
        if exponent.denominator != 1 or abs(exponent) > 12:
            raise Undefined
        total: Fraction | Matrix = _ONE
        for _ in range(abs(int(exponent))):
            total = _product(total, value)
        return _inverse(total) if exponent < 0 and isinstance(total, tuple) else total


def _sum(values: list[Fraction | Matrix]) -> Fraction | Matrix:
    matrices = [value for value in values if isinstance(value, tuple)]
    if not matrices:
        return sum((value for value in values if isinstance(value, Fraction)), Fraction(0))
    if len(matrices) < len(values):
        raise Undefined  # a matrix and a number
    return tuple(
        tuple(sum((matrix[row][column] for matrix in matrices), Fraction(0)) for column in range(SIZE))
        for row in range(SIZE)
    )


def _product(left: Fraction | Matrix, right: Fraction | Matrix) -> Fraction | Matrix:
    if not isinstance(left, tuple):
        if not isinstance(right, tuple):
            return left * right
        return tuple(tuple(left * entry for entry in row) for row in right)
    if not isinstance(right, tuple):
        return tuple(tuple(right * entry for entry in row) for row in left)
    columns = list(zip(*right, strict=True))
    return tuple(
        tuple(sum((a * b for a, b in zip(row, column, strict=True)), Fraction(0)) for column in columns)
        for row in left
    )


def _determinant(matrix: Matrix) -> Fraction:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    return a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)


def _inverse(matrix: Matrix) -> Matrix:
    """By the adjugate: its entry in row r and column c is the cofactor of row c and column r."""
    determinant = _determinant(matrix)
    if not determinant:
        raise Undefined

    def cofactor(row: int, column: int) -> Fraction:
        (r, s), (t, u) = ((row + 1) % 3, (row + 2) % 3), ((column + 1) % 3, (column + 2) % 3)
        return matrix[r][t] * matrix[s][u] - matrix[r][u] * matrix[s][t]

    return tuple(tuple(cofactor(column, row) / determinant for column in range(3)) for row in range(3))
