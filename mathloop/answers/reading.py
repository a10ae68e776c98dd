"""Reads a whole answer: lists, sets, tuples, intervals, relations, ratios, quantities, words."""

from __future__ import annotations

import re
from fractions import Fraction

from mathloop.answers import chinese
from mathloop.answers.normalization import MONEY
from mathloop.answers.notation import read_notation
from mathloop.answers.parser import Expressions
from mathloop.answers.rewriting import rewrite, with_powers
from mathloop.answers.syntax import (
    ELEMENT,
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
    negate,
    rebuild,
)
from mathloop.answers.tokens import Unreadable, tokenize
from mathloop.answers.units import scale
from mathloop.answers.variants import usual
from mathloop.answers.vocabulary import RELATIONS as ORDERED
from mathloop.answers.words import phrase, scale_of

_RELATIONS = frozenset(("=", "~", "<", "<=", ">", ">=", "!=", "in")) | ORDERED
_CURRENCIES = {MONEY: "dollar", "¥": "yuan", "€": "euro", "£": "£", "₹": "₹", "₩": "₩", "₽": "₽", "¢": "¢"}
_SEPARATORS = frozenset((",", "or", "and", "\\lor", "\\land", "\\quad", "\\\\"))
_SCALED = re.compile(
    "((?:dozen|hundred|thousand|million|billion|trillion)s?\\b|[百千]?[万亿]|[百千](?![克米瓦帕]))"
)
_SIGNS = ("<", ">", "\\le", "\\ge", "\\ne", "\\geq", "\\leq")
_BOUNDS = frozenset(
    ("以上", "以下", "以内", "以外", "左右", "上下", "多", "余", "or more", "or less", "plus")
)  # fmt: skip
"""Words after a number that make it a bound."""


def read_answer(text: str) -> Node:
    """The tree of a normalized answer; raises `Unreadable`, `RecursionError` or `ValueError`."""
    text = rewrite(usual(text if text.isascii() else chinese.rewrite(text)))
    text = with_powers(text.removeprefix("=").lstrip())
    if text.startswith(_SIGNS):
        text = f"{ELEMENT.name} {text}"  # "> 10": the bounded number has no name
    special = read_notation(text)
    if special is not None:
        return special
    return _Answers(tokenize(text)).answer()


def _is_whole_number(node: Node) -> bool:
    return isinstance(node, Number) and node.value.denominator == 1


def _times(value: Node, factor: Fraction) -> Node:
    """The value times a number; of a ratio, 1 : 100万, only the last term."""
    if isinstance(value, Collection) and value.kind == "ratio":
        return Collection("ratio", (*value.items[:-1], multiply(Number(factor), value.items[-1])))
    return multiply(Number(factor), value)


class _Answers(Expressions):
    def answer(self) -> Node:
        node = self._listing()
        if self.token.kind != "end":
            raise Unreadable(f"{self.token.value} is left over")
        return node

    def _listing(self) -> Node:
        """Items between separators: commas and "or" form a list, semicolons a sequence (of lists)."""
        groups: list[list[Node]] = [[]]
        connectives: set[str] = set()
        while True:
            while self._at_separator():
                connectives.add(self.take().value)
            if self.accept(";"):
                groups.append([])
                continue
            if self._at_end():
                break
            groups[-1].append(self._item())
            if not (self._at_separator() or self.token.value == ";"):
                break
        filled = [group for group in groups if group]
        if not filled:
            raise Unreadable("nothing to read")
        logical = connectives & {"\\lor", "\\land"}
        if logical and not all(isinstance(item, Relation) for group in filled for item in group):
            raise Unreadable("a logical formula")
        ends = "and" if connectives & {"and", "\\land"} else "or" if connectives & {"or", "\\lor"} else ""
        listed = [group[0] if len(group) == 1 else Collection("list", tuple(group), ends) for group in filled]
        return listed[0] if len(listed) == 1 else Collection("sequence", tuple(listed))

    def _at_separator(self) -> bool:
        return self.token.value in _SEPARATORS and self.token.kind in ("mark", "command")

    def _at_end(self) -> bool:
        kind, value, _ = self.token
        return kind == "end" or (kind in ("mark", "command") and value in (")", "]", "}", "\\}"))

    def _item(self) -> Node:
        """One answer: words, or a value or chain of relations followed by a unit."""
        sides: list[Node] = [self._words() if self._begins_words() else self._side()]
        if isinstance(sides[0], Text) and self.token.value != "=":
            return sides[0]
        operators: list[str] = []
        while self.token.value in _RELATIONS and self.token.kind in ("mark", "command"):
            operators.append(self.take().value)
            sides.append(self._words() if self._begins_words() else self._side())
        unit = self._unit()
        if (split := _SCALED.match(unit)) and not isinstance(sides[-1], Text):
            sides[-1] = _times(sides[-1], Fraction(scale_of(split.group(1))))
            unit = unit[split.end() :].strip()
        if unit:
            sides[-1] = self._compound(Quantity(sides[-1], unit))
        return Relation(tuple(sides), tuple(operators)) if operators else sides[0]

    def _compound(self, first: Quantity) -> Quantity:
        """2 hours 30 minutes, as hours."""
        total = first
        while self.token.kind == "number" and (size := scale(first.unit)):
            value, unit = self.expression(), self._unit()
            if size[0] == "yuan" and unit == "分":
                unit = "fen"
            other = scale(unit)
            if other is None or other[0] != size[0]:
                raise Unreadable("two adjacent quantities")
            total = Quantity(add(total.value, multiply(Number(other[1] / size[1]), value)), first.unit)
        return total

    def _side(self) -> Node:
        currency = _CURRENCIES.get(self.token.value)
        sign = self.token.value == "-" and _CURRENCIES.get(self.peek().value)
        if currency or sign:
            self.position += 2 if sign else 1
            amount = self.expression()
            if split := _SCALED.match(self.token.value):
                amount = multiply(Number(Fraction(scale_of(split.group(1)))), amount)
                self.take()
            return Quantity(negate(amount) if sign else amount, str(currency or sign))
        value = self.expression()
        if self.accept("\\setminus"):
            return Collection("difference", (value, self.expression()))
        if self.token.value in _CURRENCIES:
            return Quantity(value, _CURRENCIES[self.take().value])
        if self.token.value in ("\\cup", "\\cap") and self.token.kind == "command":
            return self._combined(value, self.token.value)
        parts = [value]
        while self.accept(":"):
            parts.append(self.expression())
        return Collection("ratio", tuple(parts)) if len(parts) > 1 else value

    def _combined(self, first: Node, operator: str) -> Node:
        """A union or an intersection; which of two comes first, A ∩ B ∪ C does not say."""
        parts = [first]
        while self.accept(operator):
            parts.append(self.expression())
        if self.token.value in ("\\cup", "\\cap", "\\setminus"):
            raise Unreadable("set operations without brackets")
        return Collection("union" if operator == "\\cup" else "intersection", tuple(parts))

    def _begins_words(self) -> bool:
        kind, value, _ = self.token
        if value == ELEMENT.name:
            return False
        if kind in ("text", "chinese"):
            return kind == "chinese" or len(value) > 1
        return kind == "word" and self.is_noun(value)

    def _words(self) -> Text:
        words: list[str] = []
        while self.token.kind in ("word", "text", "chinese") or self.token.value in ("-", "'", '"', "."):
            words.append(self.take().value)
        closed = self._at_end() or self.token.value in _SEPARATORS or self.token.value in (";", "=")
        if not closed:
            raise Unreadable("words and mathematics mixed")
        return Text(phrase(" ".join(words)))

    def _unit(self) -> str:
        """The words after a value, with their exponents (`cm^2`, `km/h`)."""
        unit = ""
        while True:
            kind, value, space = self.token
            if kind in ("word", "text", "chinese"):
                unit += (" " if unit and (space or unit[-1].isalpha()) else "") + self.take().value
            elif unit and value == "^":
                self.take()
                exponent = self.argument(digits=1)
                if not isinstance(exponent, Number):
                    raise Unreadable("a unit's exponent")
                unit += f"^{exponent.value}"
            elif unit and value in ("/", "-", ".", '"'):
                unit += self.take().value
            else:
                if unit.strip() in _BOUNDS:
                    raise Unreadable("a bound, not a number")
                return unit.strip()

    def inside(self, opening: str) -> Node:
        start = self.position
        if self._at_separator():  # 5 (or 6) is not a product
            raise Unreadable("a connective at the start")
        inner = self._listing()
        closing = self.take().value
        if opening == "{":
            if closing != "}":
                raise Unreadable("braces do not match")
            return inner
        if closing not in (")", "]"):
            raise Unreadable("brackets do not match")
        ends = opening + closing
        if not isinstance(inner, Collection) or inner.kind not in ("list", "sequence"):
            if ends == "[]" and self._may_be_floor(start, inner):
                return Apply("call", (Symbol("brackets"), inner))
            if ends in ("()", "[]"):
                return inner
            raise Unreadable("brackets do not match")
        if ends == "()":
            return Collection("tuple", inner.items)
        if len(inner.items) == 2:
            return Collection("interval", inner.items, ends)
        if ends == "[]":
            return Collection("tuple", inner.items)
        raise Unreadable("an interval with more than two ends")

    def _may_be_floor(self, start: int, inner: Node) -> bool:
        """Whether square brackets, now closed, may be Gauss's: part of the answer, no brackets inside."""
        whole = start == 1 and self.token.kind == "end"
        inside = self.tokens[start : self.position - 1]
        if whole and (not isinstance(inner, Apply | Symbol | Number) or _is_whole_number(inner)):
            return False
        return not any(token.value in ("(", "[", "\\frac") for token in inside)

    def _bar_after_variable(self) -> int:
        """Number of tokens up to and including the bar of `x |` or `x \\in \\mathbb{R} |`; 0 without one."""
        if self.token.kind != "word" or len(self.token.value) != 1:
            return 0
        offset = 1
        if self.peek().value == "in":
            while self.peek(offset).kind != "end" and self.peek(offset).value not in ("|", ":", "\\}", ","):
                offset += 1
        return offset + 1 if self.peek(offset).value in ("|", ":") else 0

    def _builder(self, bar: int, closing: str) -> Node:
        """The condition after `{x |`, as the relation or relations that every element satisfies."""
        variable = Symbol(self.token.value)
        domain = "".join(token.value for token in self.tokens[self.position + 1 : self.position + bar - 1])
        self.position += bar
        inner = self._listing()
        self.expect(closing)
        parts = inner.items if isinstance(inner, Collection) and inner.kind == "list" else (inner,)
        if not all(isinstance(part, Relation) for part in parts):
            raise Unreadable("a set's condition")
        if domain and not re.fullmatch(r"in\\?(?:mathbb)?\{?R\}?", domain):
            member = Relation((variable, Symbol(domain)), ("in",))
            inner = Collection("list", (*parts, member), "and")
        return rebuild(inner, {variable: ELEMENT})

    def cell(self) -> Node:
        return self._item()

    def braces(self) -> Node:
        """`\\{1, 2\\}` or `\\{x | 1 < x\\}`; the opening brace has been consumed."""
        if self.accept("\\}"):
            return Symbol("empty set")
        bar = self._bar_after_variable()
        if bar:
            return self._builder(bar, "\\}")
        inner = self._listing()
        self.expect("\\}")
        items = (
            inner.items if isinstance(inner, Collection) and inner.kind in ("list", "sequence") else (inner,)
        )
        return Collection("set", items)
