r"""Parses one expression of an answer, in LaTeX or plain text, by recursive descent.

Nothing is evaluated as code, and both the number of tokens and the depth are bounded, so a hostile answer
costs at most milliseconds. `reading.py` uses it to read whole answers.
"""

from __future__ import annotations

from fractions import Fraction

from mathloop.answers.commands import STOP_COMMANDS, read_command
from mathloop.answers.letters import Letters
from mathloop.answers.powers import DEEPEST, Powers
from mathloop.answers.syntax import (
    Apply,
    Node,
    Number,
    Symbol,
    add,
    divide,
    multiply,
    negate,
)
from mathloop.answers.tokens import CONSTANTS, FUNCTIONS, Token, Unreadable
from mathloop.answers.vocabulary import OPERATORS

_CLOSERS = frozenset(
    (")", "]", "}", "\\}", ",", ";", "or", "and", "&", "=", "~", "<", "<=",
     ">", ">=", "!=", "in", ":", "\\cup")
)  # fmt: skip


def _times(left: Node, right: Node) -> Node:
    """left × right, whose order matters for vectors and for sets."""
    if _is_vector_or_set(left) and _is_vector_or_set(right):
        return Apply("call", (Symbol("cross"), left, right))
    return multiply(left, right)


def _is_vector_or_set(node: Node) -> bool:
    if isinstance(node, Apply) and node.operation == "pow":  # S^1 × S^1 is no S^2
        return isinstance(node.arguments[1], Number) and _is_vector_or_set(node.arguments[0])
    return isinstance(node, Symbol) and (
        node.name.startswith(("vec ", "bold ", "hat ")) or node.name.isupper()
    )


class Expressions(Letters, Powers):
    """Recursive descent over tokens; the methods return trees and move `position`."""

    def expression(self) -> Node:
        """Sums and differences, ± and unary signs included."""
        self.depth += 1
        if self.depth > DEEPEST:
            raise Unreadable("nested too deeply")
        terms = [self._signed_term()]
        while True:
            if self.accept("+"):
                terms.append(self._signed_term())
            elif self.accept("-"):
                terms.append(negate(self._signed_term()))
            elif self.token.value in ("\\pm", "\\mp") and self.token.kind == "command":
                terms.append(self._signed_term())
            else:
                break
        self.depth -= 1
        if self.accept("\\over"):
            return divide(add(*terms), self.expression())
        if self.accept("\\choose"):
            return Apply("binomial", (add(*terms), self.expression()))
        return add(*terms)

    def _signed_term(self) -> Node:
        if self.accept("-"):
            return negate(self._signed_term())
        if self.accept("+"):
            return self._signed_term()
        if self.accept("\\pm"):
            return Apply("pm", (self._signed_term(),))
        if self.accept("\\mp"):
            return Apply("pm", (negate(self._signed_term()),))
        return self.term()

    def term(self) -> Node:
        value = self.factor()
        while True:
            if self.accept("*"):
                value = multiply(value, self._signed_factor())
            elif self.accept("\\times"):
                value = _times(value, self._signed_factor())
            elif (operator := self._operator()) is not None:
                value = Apply("call", (Symbol(operator), value, self._signed_factor()))
            elif self.token.value == "/" and self.token.kind == "mark":
                self.take()
                value = divide(value, self._signed_factor())
            elif self.begins_factor():
                previous = self.tokens[self.position - 1]
                bracketed = self.token.value in ("(", "[") and self.token.kind == "mark"
                following = self.factor()
                value = (
                    multiply(value, following)
                    if bracketed
                    else self.implicit_product(value, following, previous)
                )
            else:
                return value

    def _operator(self) -> str | None:
        """Consumes an operator that only keeps the order of its sides; returns its name, or None."""
        kind, value, _ = self.token
        name = (
            OPERATORS.get(value) if kind == "command" else "mod" if (kind, value) == ("word", "mod") else None
        )
        if name is not None:
            self.take()
        return name

    def _signed_factor(self) -> Node:
        if self.accept("-"):
            return negate(self._signed_factor())
        return self.factor()

    def implicit_product(self, value: Node, following: Node, previous: Token) -> Node:
        """An implicit product, or a mixed number if a proper fraction follows an integer."""
        if isinstance(following, Number) and previous.kind == "number" and isinstance(value, Number):
            if following.value.denominator > 1 and 0 < following.value < 1 and not following.places:
                if value.value.denominator == 1 and not value.places:
                    return Number(value.value + following.value)
            elif self.token.value == "/" and self.peek().kind == "number" and value.value.denominator == 1:
                self.take()
                fraction = Fraction(following.value, int(self.take().value) or 1)
                if 0 < fraction < 1:
                    return Number(value.value + fraction)
            raise Unreadable("two adjacent numbers")
        match following:  # 12½ %
            case Apply("percent", (Number() as part,)) if (
                isinstance(value, Number) and value.value.denominator == 1 and 0 < part.value < 1
            ):
                return Apply("percent", (Number(value.value + part.value),))
        return multiply(value, following)

    def begins_factor(self) -> bool:
        kind, value, space = self.token
        if kind == "end" or (kind == "mark" and value in _CLOSERS):
            return False
        if kind == "mark":
            return value in ("(", "[", "{") or (value == "|" and self.bars == 0)
        if kind == "command":
            return value not in STOP_COMMANDS
        if kind == "word":
            return value != "mod" and not self.is_noun(value)
        if kind == "number" and not space and self.tokens[self.position - 1].kind == "word":
            raise Unreadable("a number after a letter")
        return kind == "number" or (kind == "text" and len(value) == 1)

    def factor(self) -> Node:
        """An atom with its exponent, factorial, percent, degree and index."""
        value = self.atom()
        for _ in range(DEEPEST):
            kind, mark, _ = self.token
            if mark == "^" and kind == "mark":
                value = self.raised(value)
            elif mark == "(" and kind == "mark" and self.is_derived(value):
                self.take()
                value = Apply("call", (value, self.expression()))
                self.expect(")")
            elif mark == "!" and kind == "mark":
                self.take()
                double = self.accept("!")
                value = Apply("double factorial" if double else "factorial", (value,))
            elif mark == "'" and kind == "mark":
                self.take()
                value = Apply("prime", (value,))
            elif mark == "%" and kind == "mark":
                self.take()
                if self.token.kind == "number":
                    raise Unreadable("a number after a percent sign")  # 7 % 3
                value = Apply("percent", (value,))
            else:
                return value
        raise Unreadable("nested too deeply")

    def argument(self, digits: int) -> Node:
        """A command's argument: `{…}` or one token; of a number its first `digits` digits (0: all)."""
        if self.accept("{"):
            value = self.expression()
            self.expect("}")
            return value
        token = self.token
        if token.kind == "number" and digits and len(token.value) > digits and token.value.isdigit():
            self.tokens[self.position] = Token("number", token.value[digits:], False)
            return Number(Fraction(token.value[:digits]))
        if (
            token.kind == "word"
            and token.value not in FUNCTIONS
            and token.value not in CONSTANTS
            and len(token.value) > 1
        ):
            self.tokens[self.position] = Token("word", token.value[1:], False)
            return Symbol(token.value[0])
        if token.kind == "word" and len(token.value) == 1 and digits:
            return Symbol(self.take().value)
        if self.accept("-"):
            return negate(self.argument(digits))
        if self.accept("+"):
            return self.argument(digits)
        return self.atom()

    def atom(self) -> Node:
        token = self.take()
        if token.kind == "number":
            if token.value.isdigit():
                return Number(Fraction(int(token.value)))
            whole, _, decimals = token.value.partition(".")
            return Number(Fraction(token.value if whole else "0" + token.value), len(decimals))
        if token.kind == "word":
            return self.word_factor(token)
        if token.kind == "text" and len(token.value) == 1:
            return self.indexed(Symbol(token.value))
        if token.kind == "mark":
            return self._bracketed(token)
        if token.kind == "command":
            return read_command(self, token)
        raise Unreadable(f"cannot read {token.value or 'the end'} here")

    def _bracketed(self, token: Token) -> Node:
        self.depth += 1
        if token.value == "|":
            self.bars += 1
            inner = self.expression()
            self.bars -= 1
            self.expect("|")
            self.depth -= 1
            return Apply("abs", (inner,))
        if token.value not in ("(", "[", "{"):
            raise Unreadable(f"cannot read {token.value} here")
        bars, self.bars = self.bars, 0
        inner = self.inside(token.value)
        self.bars = bars
        self.depth -= 1
        return inner

    def inside(self, opening: str) -> Node:
        """The content of brackets: an expression; in whole answers it may be a list."""
        inner = self.expression()
        self.expect({"(": ")", "[": "]", "{": "}"}[opening])
        return inner

    def cell(self) -> Node:
        """An entry of a matrix: an expression; in whole answers it may be an equation."""
        return self.expression()

    def braces(self) -> Node:
        """An explicit set, which only whole answers may contain."""
        raise Unreadable("a set inside an expression")
