r"""Parses one expression of an answer, in LaTeX or plain text, by recursive descent.

Nothing is evaluated as code, and both the number of tokens and the depth are bounded, so a hostile answer
costs at most milliseconds. `reading.py` uses it to read whole answers.
"""

from __future__ import annotations

import re
from fractions import Fraction

from mathloop.answers.calculus import plain_derivative
from mathloop.answers.commands import STOP_COMMANDS, read_command, read_function, read_uncomputed
from mathloop.answers.grammar import Grammar
from mathloop.answers.syntax import (
    ELEMENT,
    MINUS_ONE,
    Apply,
    Node,
    Number,
    Symbol,
    add,
    divide,
    multiply,
    negate,
    power,
    walk,
)
from mathloop.answers.tokens import CONSTANTS, FUNCTIONS, Token, Unreadable
from mathloop.answers.units import WORDS
from mathloop.answers.vocabulary import FUNCTIONS as UNCOMPUTED
from mathloop.answers.vocabulary import GREEK_FUNCTIONS, OPERATORS

DEEPEST = 40

_CLOSERS = frozenset(
    (")", "]", "}", "\\}", ",", ";", "or", "and", "&", "=", "~", "<", "<=",
     ">", ">=", "!=", "in", ":", "\\cup")
)  # fmt: skip
_GLUED = re.compile(r"(sqrt|pi|sin|cos|tan|log|ln)([a-z]{1,2}?)(?:(sin|cos|tan|ln)([a-z]{1,2}))?")
"""Functions without spaces: "sqrtx", "pir", "sinxcosx"."""
_ENGLISH = frozenset(
    ("cost", "costs", "tank", "tang", "tans", "tanks", "sins", "sink", "sing", "sinks", "logs", "logo", "pin",
     "pins", "pie", "pies", "pier", "ping", "pink", "pint", "pig", "pigs", "pit", "pits", "pile", "pine",
     "pipe", "pita", "pill", "since")
)  # fmt: skip
_LETTER_UNITS = frozenset("gmshLltNJWVA")
_DEFINED = frozenset("fghFGHWT")
"""Letters that are functions if a parenthesis follows."""
_PROSE = frozenset(
    ("the", "not", "an", "is", "are", "it", "its", "of", "for", "all", "in", "if", "no",
     "yes", "an", "so", "we", "to", "on", "by")
)  # fmt: skip
"""Words that are never products of letters."""


def _glued(word: str) -> re.Match[str] | None:
    return None if word in _ENGLISH else _GLUED.fullmatch(word)


def _names_matrix(node: Node) -> bool:
    """Whether it is a capital letter, or a product or sum of such, that is not the name of a function."""
    match node:
        case Symbol(name):
            return len(name) == 1 and name.isupper() and name not in _DEFINED
        case Apply("index", (head, *_)):
            return _names_matrix(head)
        case Apply("mul" | "add" | "transpose" | "inverse", parts):
            return any(map(_names_matrix, parts))
    return False


def _is_greek(name: str) -> bool:
    return len(name) > 1 and name.isalpha() and name not in ("pi", "oo")


def _times(left: Node, right: Node) -> Node:
    """left × right, whose order matters for vectors and for sets."""
    if _is_vector_or_set(left) and _is_vector_or_set(right):
        return Apply("call", (Symbol("cross"), left, right))
    return multiply(left, right)


def _is_vector_or_set(node: Node) -> bool:
    return isinstance(node, Symbol) and (
        node.name.startswith(("vec ", "bold ", "hat ")) or node.name.isupper()
    )


class Expressions(Grammar):
    """Recursive descent over tokens; the methods return trees and move `position`."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.depth = 0
        self.bars = 0

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
            return value != "mod" and not self._is_noun(value)
        if kind == "number" and not space and self.tokens[self.position - 1].kind == "word":
            raise Unreadable("a number after a letter")
        return kind == "number" or (kind == "text" and len(value) == 1)

    def _is_unit(self) -> bool:
        """Whether a letter at the end, after a number and a space, is a unit: `250 g`."""
        if self.token.value not in _LETTER_UNITS or not self.token.space or not self.position:
            return False
        before, after = self.tokens[self.position - 1], 1
        if self.peek().value == "^":  # 9π m^2
            after = 5 if self.peek(2).value == "{" else 3
        letters = any(token.kind == "word" for token in self.tokens[: self.position])
        closed = before.kind == "number" or before.value == "\\pi"
        return closed and not letters and self.peek(after).kind == "end"

    def _is_noun(self, word: str) -> bool:
        if len(word) == 1:
            return self._is_unit()
        if word == "min":  # minutes, unless a bracket follows
            return self.position > 0 and self.peek().value not in ("(", "{", "_")
        if word in FUNCTIONS or word in CONSTANTS or word == ELEMENT.name or _glued(word):
            return False
        if word.lower() in WORDS and self.position and self.tokens[self.position - 1].kind != "word":
            return True
        return len(word) > 3 and not (word.isupper() and len(word) < 6)

    def factor(self) -> Node:
        """An atom with its exponent, factorial, percent, degree and index."""
        value = self.atom()
        for _ in range(DEEPEST):
            kind, mark, _ = self.token
            if mark == "^" and kind == "mark":
                value = self._raised(value)
            elif mark == "(" and kind == "mark" and self._is_derived(value):
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
                value = Apply("percent", (value,))
            else:
                return value
        raise Unreadable("nested too deeply")

    def _is_derived(self, value: Node) -> bool:
        """Whether the node is f' or f^{-1}, so that a parenthesis contains its argument."""
        match value:
            case Apply("prime", (Symbol(),)):
                return True
            case Apply("pow", (Symbol(name), exponent)):
                return (name in _DEFINED or name in GREEK_FUNCTIONS) and exponent == MINUS_ONE
        return False

    def _raised(self, value: Node) -> Node:
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
            whole, _, decimals = token.value.partition(".")
            return Number(Fraction(token.value if whole else "0" + token.value), len(decimals))
        if token.kind == "word":
            return self._word(token)
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

    def _word(self, token: Token) -> Node:
        word = token.value
        if word in CONSTANTS:
            return Symbol(CONSTANTS[word])
        if word in FUNCTIONS:
            return read_function(self, word)
        if match := _glued(word):
            self.position -= 1
            parts = [Token("word", part, False) for part in match.groups() if part]
            self.tokens[self.position : self.position + 1] = [
                parts[0]._replace(space=token.space),
                *parts[1:],
            ]
            return self.atom()
        if word == ELEMENT.name:
            return ELEMENT
        if word in UNCOMPUTED and self.token.value == "(" and self.token.kind == "mark":
            return read_uncomputed(self, word)
        if (derivative := plain_derivative(self, word)) is not None:
            return derivative
        if len(word) > 1:
            before = self.tokens[self.position - 2] if self.position > 1 else None
            if (word.lower() in _PROSE and not word.isupper()) or (
                before is not None and before.kind == "word" and token.space
            ):
                raise Unreadable(f"the word {word}")
            if self._is_noun(word) and self.token.kind != "end":
                raise Unreadable(f"the word {word}")
            if len(word) > 5:
                raise Unreadable(f"the word {word}")
            self.position -= 1
            self.tokens[self.position : self.position + 1] = [
                Token("word", letter, token.space and not index) for index, letter in enumerate(word)
            ]
            factors = [self._letter() for _ in word[1:]]
            return multiply(*factors, self.factor())  # ab^2 squares only b
        self.position -= 1
        return self._letter()

    def _letter(self) -> Node:
        return self.indexed(Symbol(self.take().value))

    def indexed(self, symbol: Symbol) -> Node:
        """A letter with its index (`x_1`, `F_{n-1}`, `C_n^k`) or the arguments of a function (`f(x)`)."""
        if symbol.name == "C" and self._holds_integers():
            self.take()
            total = self.atom()
            self.expect(",")
            chosen = self.atom()
            self.expect(")")
            return Apply("binomial", (total, chosen))
        if self.accept("_"):
            index = self._index()
            if symbol.name in ("C", "A", "P") and self.token.value == "^":
                self.take()
                return Apply(
                    "binomial" if symbol.name == "C" else "arrangements", (index, self.argument(digits=0))
                )
            symbol_or_term: Node = Apply("index", (symbol, index))
        elif (
            self.token.kind == "number"
            and not self.token.space
            and self.tokens[self.position - 1].kind == "word"
        ):
            symbol_or_term = Apply("index", (symbol, Number(Fraction(self.take().value))))  # x1
        else:
            symbol_or_term = symbol
        called = (
            symbol.name in _DEFINED
            or symbol.name in GREEK_FUNCTIONS
            or self._holds_letters()
            or self._holds_number(symbol.name)
        )
        if self.token.value == "(" and called:
            self.take()
            arguments = [self.expression()]
            while self.accept(","):
                arguments.append(self.expression())
            self.expect(")")
            return Apply("call", (symbol_or_term, *arguments))
        return symbol_or_term

    def _holds_integers(self) -> bool:
        """Whether a parenthesis with two integers follows: C(12, 5)."""
        tokens = [self.peek(offset) for offset in range(5)]
        expected = ("(", "number", ",", "number", ")")
        return all(each in (token.value, token.kind) for token, each in zip(tokens, expected, strict=True))

    def _holds_number(self, name: str) -> bool:
        """Whether this is a function value, `P(0)` or `y(2) = 4`, and not a product."""
        if self.peek().kind != "number" or self.peek(2).value != ")":
            return False
        return (len(name) == 1 and name.isupper()) or self.peek(3).value == "=" or _is_greek(name)

    def _holds_letters(self) -> bool:
        """Whether a parenthesis contains one letter: `N(n)` is a value of N, `n(n+1)` a product."""
        return self.peek().kind == "word" and len(self.peek().value) == 1 and self.peek(2).value == ")"

    def _index(self) -> Node:
        start = self.position
        try:
            return self.argument(digits=1)
        except Unreadable:
            self.position = start
        self.expect("{")
        words = []
        while self.token.value != "}" and self.token.kind != "end":
            words.append(self.take().value)
        self.expect("}")
        return Symbol(" ".join(words))

    def cell(self) -> Node:
        """An entry of a matrix: an expression; in whole answers it may be an equation."""
        return self.expression()

    def braces(self) -> Node:
        """An explicit set, which only whole answers may contain."""
        raise Unreadable("a set inside an expression")
