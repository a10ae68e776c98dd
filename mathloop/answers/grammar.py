"""The grammar rules that refer to each other across files."""

from __future__ import annotations

from abc import ABC, abstractmethod

from mathloop.answers.syntax import Node, Symbol
from mathloop.answers.tokens import Cursor, Token


class Grammar(Cursor, ABC):
    """The rules that the reading of commands and functions calls; each consumes its tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        super().__init__(tokens)
        self.depth = 0
        """How many brackets and exponents are open."""
        self.bars = 0
        """How many bars of absolute values are open."""

    @abstractmethod
    def expression(self) -> Node:
        """A sum of terms."""

    @abstractmethod
    def term(self) -> Node:
        """A product of factors."""

    @abstractmethod
    def factor(self) -> Node:
        """An atom with its powers and factorials."""

    @abstractmethod
    def atom(self) -> Node:
        """A number, symbol, command or bracketed expression."""

    @abstractmethod
    def argument(self, digits: int) -> Node:
        """A command's argument: braces, or one token; of a number at most `digits` digits, 0 for all."""

    @abstractmethod
    def indexed(self, symbol: Symbol) -> Node:
        """The symbol with its index, and with its arguments if it is a function."""

    @abstractmethod
    def braces(self) -> Node:
        """A set whose opening brace has been consumed."""

    @abstractmethod
    def cell(self) -> Node:
        """An entry of a matrix."""

    @abstractmethod
    def begins_factor(self) -> bool:
        """Whether a factor can begin at the next token."""

    @abstractmethod
    def implicit_product(self, value: Node, following: Node, previous: Token) -> Node:
        """The product of two adjacent factors."""
