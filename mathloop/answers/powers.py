"""Exponents that are no powers: derivatives, inverses, transposes, degrees."""

from __future__ import annotations

from mathloop.answers.grammar import Grammar
from mathloop.answers.syntax import (
    MINUS_ONE,
    Apply,
    Node,
    Symbol,
    power,
    walk,
)
from mathloop.answers.tokens import Token, Unreadable
from mathloop.answers.vocabulary import GREEK_FUNCTIONS

DEEPEST = 40
DEFINED = frozenset("fghFGHWT")
"""Letters that are functions if a parenthesis follows."""


def _names_matrix(node: Node) -> bool:
    """Whether it is a capital letter, or a product or sum of such, that is not the name of a function."""
    match node:
        case Symbol(name):
            return len(name) == 1 and name.isupper() and name not in DEFINED
        case Apply("index", (head, *_)):
            return _names_matrix(head)
        case Apply("mul" | "add" | "transpose" | "inverse", parts):
            return any(map(_names_matrix, parts))
    return False


class Powers(Grammar):
    """Reads what follows a caret."""

    def is_derived(self, value: Node) -> bool:
        """Whether the node is f' or f^{-1}, so that a parenthesis contains its argument."""
        match value:
            case Apply("prime", (Symbol(),)):
                return True
            case Apply("pow", (Symbol(name), exponent)):
                named = name in DEFINED or name in GREEK_FUNCTIONS
                return (named and exponent == MINUS_ONE) or name == "chi"  # \chi^2(3) is a distribution
        return False

    def raised(self, value: Node) -> Node:
        self.expect("^")
        braced = self.token.value == "{" and self.token.kind == "mark"
        inner = self.peek() if braced else self.token
        if inner.value in ("\\circ", "\\degree"):
            self.position += 2 if braced else 1
            if braced:
                self.expect("}")
            if self.token.value in ("C", "F") and self.token.kind in ("word", "text"):
                return Apply("celsius" if self.take().value == "C" else "fahrenheit", (value,))
            return Apply("degree", (value,))
        if inner.value in ("'", "\\prime"):
            self.position += 2 if braced else 1
            if braced:
                self.expect("}")
            return Apply("prime", (value,))
        if (special := self._times_derived(value) or self._transposed(value)) is not None:
            return special
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("nested too deeply")
        exponent = self.argument(digits=0)
        self.depth -= 1
        if exponent == MINUS_ONE and _names_matrix(value):
            return Apply("inverse", (value,))
        return power(value, exponent)

    def _times_derived(self, value: Node) -> Node | None:
        """y^{(4)}, a derivative of a named function; None, consuming nothing, for other exponents."""
        marks = [self.peek(offset).value for offset in (0, 1, 3, 4)]
        if marks != ["{", "(", ")", "}"] or not isinstance(value, Symbol) or self.peek(2).kind == "end":
            return None
        order = self.peek(2).value
        self.position += 5
        return Apply("call", (Symbol(f"derivative {order}"), value))

    def _transposed(self, value: Node) -> Node | None:
        r"""A^T, A^{\top}; None, and nothing consumed, for other exponents."""
        braced = self.token.value == "{" and self.token.kind == "mark"
        inner, place = (self.peek(), 2) if braced else (self.token, 1)
        if inner.kind == "word" and inner.value[0] == "T" and len(inner.value) > 1 and not braced:
            inner = Token("word", "T", inner.space)  # the T of A^TB
            self.tokens[self.position : self.position + 1] = [
                inner,
                self.token._replace(value=self.token.value[1:]),
            ]
        if inner.value not in ("T", "\\top", "\\intercal") or (braced and self.peek(2).value != "}"):
            return None
        letter = isinstance(value, Symbol) and len(value.name) == 1 and value.name != "e"
        if inner.value == "T" and not letter and not any(map(_names_matrix, walk(value))):
            return None
        self.position += place + braced
        return Apply("transpose", (value,))
