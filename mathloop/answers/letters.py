"""Words and letters of an expression: functions, products of letters, indices, calls, nouns."""

from __future__ import annotations

import re
from fractions import Fraction

from mathloop.answers.calculus import plain_derivative
from mathloop.answers.functions import read_function, read_uncomputed
from mathloop.answers.grammar import Grammar
from mathloop.answers.powers import DEFINED
from mathloop.answers.syntax import (
    ELEMENT,
    Apply,
    Node,
    Number,
    Symbol,
    multiply,
)
from mathloop.answers.tokens import CONSTANTS, FUNCTIONS, Token, Unreadable
from mathloop.answers.units import WORDS
from mathloop.answers.vocabulary import FUNCTIONS as UNCOMPUTED
from mathloop.answers.vocabulary import GREEK_FUNCTIONS

_GLUED = re.compile(r"(sqrt|pi|sin|cos|tan|log|ln)([a-z]{1,2}?)(?:(sin|cos|tan|ln)([a-z]{1,2}))?")
"""Functions without spaces: "sqrtx", "pir", "sinxcosx"."""
_ENGLISH = frozenset(
    ("cost", "costs", "tank", "tang", "tans", "tanks", "sins", "sink", "sing", "sinks", "logs", "logo", "pin",
     "pins", "pie", "pies", "pier", "ping", "pink", "pint", "pig", "pigs", "pit", "pits", "pile", "pine",
     "pipe", "pita", "pill", "since")
)  # fmt: skip
_LETTER_UNITS = frozenset("gmshLltNJWVA")
_PROSE = frozenset(
    ("the", "not", "an", "is", "are", "it", "its", "of", "for", "all", "in", "if", "no",
     "yes", "an", "so", "we", "to", "on", "by")
)  # fmt: skip
"""Words that are never products of letters."""


def glued(word: str) -> re.Match[str] | None:
    return None if word in _ENGLISH else _GLUED.fullmatch(word)


def _is_greek(name: str) -> bool:
    return len(name) > 1 and name.isalpha() and name not in ("pi", "oo")


def _is_quantile(node: Node) -> bool:
    """Whether it is a letter with a decimal as its index: t_{0.05}(10)."""
    return (
        isinstance(node, Apply) and isinstance(node.arguments[-1], Number) and node.arguments[-1].places > 0
    )


class Letters(Grammar):
    """Reads words and letters."""

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

    def is_noun(self, word: str) -> bool:
        if len(word) == 1:
            return self._is_unit()
        if word == "min":  # minutes, unless a bracket follows
            return self.position > 0 and self.peek().value not in ("(", "{", "_")
        if word in FUNCTIONS or word in CONSTANTS or word == ELEMENT.name or glued(word):
            return False
        if word.lower() in WORDS and self.position and self.tokens[self.position - 1].kind != "word":
            return True
        return len(word) > 3 and not (word.isupper() and len(word) < 6)

    def word_factor(self, token: Token) -> Node:
        word = token.value
        if word in CONSTANTS:
            return Symbol(CONSTANTS[word])
        if word in FUNCTIONS:
            return read_function(self, word)
        if match := glued(word):
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
            if self.is_noun(word) and self.token.kind != "end":
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
            symbol.name in DEFINED
            or symbol.name in GREEK_FUNCTIONS
            or self._holds_letters()
            or self._holds_number(symbol.name)
            or _is_quantile(symbol_or_term)
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
        whole = self.position == 1 and self.peek(3).kind == "end"  # p(5) as the answer
        return (len(name) == 1 and name.isupper()) or self.peek(3).value == "=" or _is_greek(name) or whole

    def _holds_letters(self) -> bool:
        """Whether a parenthesis contains one letter: `N(n)` is a value of N, `n(n+1)` a product."""
        return self.peek().kind == "word" and len(self.peek().value) == 1 and self.peek(2).value == ")"

    def _index(self) -> Node:
        start = self.position
        ordinal = [self.peek(offset).value for offset in (0, 1, 3, 4)] == ["{", "(", ")", "}"]  # x_{(1)}
        try:
            if not ordinal:
                return self.argument(digits=1)
        except Unreadable:
            self.position = start
        self.expect("{")
        words = []
        while self.token.value != "}" and self.token.kind != "end":
            words.append(self.take().value)
        self.expect("}")
        return Symbol(" ".join(words))
