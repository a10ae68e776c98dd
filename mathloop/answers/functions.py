"""Named functions with their index, exponent and arguments, in brackets or without."""

from __future__ import annotations

from fractions import Fraction

from mathloop.answers.exact import variables
from mathloop.answers.grammar import Grammar
from mathloop.answers.syntax import (
    HALF,
    MINUS_ONE,
    Apply,
    Collection,
    Node,
    Number,
    Symbol,
    add,
    divide,
    multiply,
    negate,
    power,
)
from mathloop.answers.tokens import FUNCTIONS, Unreadable
from mathloop.answers.vocabulary import UNBRACKETED

_INVERSES = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}

_HYPERBOLIC = {f"ar{name}": f"arc{name}" for name in ("sinh", "cosh", "tanh", "coth")}

_UNCOMPUTED_INVERSES = frozenset(("cot", "sec", "csc", "sinh", "cosh", "tanh"))

_SYNONYMS = {"asin": "arcsin", "acos": "arccos", "atan": "arctan", "det": "determinant"}


def read_uncomputed(parser: Grammar, name: str) -> Node:
    """A value of a function that is known by name only; its name has been consumed."""
    name = _HYPERBOLIC.get(name, name)
    extra: list[Node] = []
    while parser.token.value in ("_", "^") and parser.token.kind == "mark":
        mark = parser.take().value
        extra += [Symbol(f"at {mark}"), parser.argument(digits=0)]
    if parser.token.value in ("(", "[", "{") and parser.token.kind == "mark":
        closing = {"(": ")", "[": "]", "{": "}"}[parser.take().value]
        inner = [parser.expression()]
        while parser.accept(","):
            inner.append(parser.expression())
        parser.expect(closing)
    elif name in UNBRACKETED and parser.begins_factor():
        inner = [_bare_argument(parser)]
    else:
        raise Unreadable(f"the function {name} without an argument")
    return Apply("call", (Symbol(name), *inner, *extra))


def read_function(parser: Grammar, name: str) -> Node:
    """A function with its index, exponent and arguments; its name has been consumed."""
    name = _SYNONYMS.get(name, name)
    if name == "sqrt":
        return _root(parser)
    base: Node | None = None
    exponent: Node | None = None
    if name == "log" and _is_python_base(parser):
        base = Number(Fraction(parser.take().value))
    while parser.token.value in ("_", "^") and parser.token.kind == "mark":
        if parser.accept("_"):
            base = parser.argument(digits=0)
        else:
            parser.take()
            exponent = parser.argument(digits=0)
    if exponent == MINUS_ONE and name in _INVERSES:
        name, exponent = _INVERSES[name], None
    elif exponent == MINUS_ONE:
        if name not in _UNCOMPUTED_INVERSES:
            raise Unreadable(f"an inverse or a reciprocal of {name}")
        return read_uncomputed(parser, f"arc{name}")
    if name == "lg":
        name, base = "log", Number(Fraction(10))
    arguments: tuple[Node, ...]
    if parser.accept("\\{"):  # \max\{a, b\}
        inside = parser.braces()
        if not isinstance(inside, Collection) or inside.kind != "set":
            raise Unreadable(f"a set after {name}")
        arguments = inside.items
    elif parser.token.value in ("(", "[", "{") and parser.token.kind == "mark":
        closing = {"(": ")", "[": "]", "{": "}"}[parser.take().value]
        inner = [parser.expression()]
        while parser.accept(","):
            inner.append(parser.expression())
        parser.expect(closing)
        arguments = tuple(inner)
    elif name in ("max", "min"):
        raise Unreadable(f"the {name} of one value")  # "min 3, max 5"
    else:
        arguments = (_bare_argument(parser),)
    if base is not None:
        if name != "log":
            raise Unreadable(f"an index below {name}")
        arguments = (*arguments, base)
    if name == "exp":
        value: Node = power(Symbol("e"), arguments[0])
    elif name == "cis":
        value = add(Apply("cos", arguments), multiply(Symbol("i"), Apply("sin", arguments)))
    else:
        value = Apply(name, arguments)
    return value if exponent is None else power(value, exponent)


def _is_python_base(parser: Grammar) -> bool:
    """Whether `2(` or `10(` is glued to the name: `log10(100)`."""
    token, following = parser.token, parser.peek()
    return token.value in ("2", "10") and not token.space and following.value == "(" and not following.space


def _bare_argument(parser: Grammar) -> Node:
    """The argument of a function without brackets: factors up to the next sign or function.

    A parenthesis belongs to it after a constant, as in cos 3(x + 1), but not after a variable: sin x(1 + x).
    """
    if parser.accept("-"):
        return negate(_bare_argument(parser))
    value = parser.factor()
    while parser.begins_factor() and not _begins_function(parser):
        if parser.token.value in ("(", "[") and variables(value):
            break
        previous = parser.tokens[parser.position - 1]
        value = parser.implicit_product(value, parser.factor(), previous)
    if parser.token.value == "/" and parser.peek().kind == "number":  # \sin \pi/6
        parser.take()
        value = divide(value, parser.factor())
    return value


def _begins_function(parser: Grammar) -> bool:
    return parser.token.value.lstrip("\\") in FUNCTIONS and parser.token.value.lstrip("\\") != "sqrt"


def _root(parser: Grammar) -> Node:
    index: Node | None = None
    if parser.accept("["):
        index = parser.expression()
        parser.expect("]")
    if parser.accept("("):
        inside = parser.expression()
        parser.expect(")")
    else:
        inside = parser.argument(digits=0)
    return power(inside, HALF if index is None else divide(Number(Fraction(1)), index))
