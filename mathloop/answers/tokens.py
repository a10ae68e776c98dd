"""Splits a normalized answer into a limited number of tokens."""

from __future__ import annotations

import re
from typing import NamedTuple

from mathloop.answers.units import UNITS, scale
from mathloop.answers.vocabulary import FUNCTIONS as UNCOMPUTED

MOST_TOKENS = 1500
LONGEST_DIGITS = 1000


class Unreadable(Exception):
    """The parser does not understand the answer; the message says why."""


class Token(NamedTuple):
    """`kind` is number, command, word, text, chinese, mark or end; `space`: white space precedes it."""

    kind: str
    value: str
    space: bool


FUNCTIONS = frozenset(
    ("sin", "cos", "tan", "cot", "sec", "csc", "arcsin", "arccos", "arctan", "asin", "acos", "atan", "sinh",
     "cosh", "tanh", "log", "lg", "ln", "exp", "sqrt", "abs", "min", "max", "gcd", "lcm", "det",
     "floor", "ceil", "cis")
)  # fmt: skip
CONSTANTS = {"pi": "pi", "infty": "oo", "infinity": "oo", "inf": "oo", "oo": "oo"}
_CONNECTIVES = {"and": "and", "or": "or", "和": "and", "或": "or", "或者": "or", "及": "and", "与": "and"} | {
    "以及": "and", "且": "and", "并且": "and"
}  # fmt: skip
_TOKEN = re.compile(
    r"(?P<number>\d+(?:\.\d+)?|\.\d+)|(?P<text>\\(?:text|textbf|textit|textrm|textnormal|textsf|mathrm|mathbf|mathit"
    r"|mathsf|mbox|operatorname\*?|rm|bf)(?![a-zA-Z])\s*\{)|(?P<command>\\[a-zA-Z]+|\\.|\\$)|(?P<word>[a-zA-Z]+)"
    r"|(?P<chinese>[\u4e00-\u9fff]+)|(?P<space>\s+)|(?P<mark>\*\*|<=|>=|!=|==|:=|=>|->|.)",
    re.DOTALL,
)
_CLOSE = re.compile(r"[{}]")
_CHINESE_CONNECTIVE = re.compile("(或者|或|和|以及|及|与|并且|且)")
_ALIASES = {
    "**": "^", "==": "=", ":=": "=", "、": ",",
    "\\le": "<=", "\\leq": "<=", "\\leqslant": "<=", "\\leqq": "<=", "\\lt": "<",
    "\\ge": ">=", "\\geq": ">=", "\\geqslant": ">=", "\\geqq": ">=", "\\gt": ">",
    "\\ne": "!=", "\\neq": "!=", "\\approx": "~", "\\simeq": "~", "\\doteq": "~", "\\in": "in",
    "\\cdot": "*", "\\div": "/",
    "\\mid": "|", "\\vert": "|", "\\lvert": "|", "\\rvert": "|", "\\lbrace": "\\{", "\\rbrace": "\\}",
    "\\lbrack": "[", "\\rbrack": "]", "\\langle": "(", "\\rangle": ")", "\\bigcup": "\\cup",
    "\\vee": "\\lor", "\\wedge": "\\land",
    "\\dfrac": "\\frac", "\\tfrac": "\\frac", "\\cfrac": "\\frac",
    "\\dbinom": "\\binom", "\\tbinom": "\\binom",
}  # fmt: skip


def tokenize(text: str) -> list[Token]:
    """The tokens of a normalized answer, the last of kind `end`.

    Raises `Unreadable` if there are too many.
    """
    tokens: list[Token] = []
    position, space = 0, False
    while position < len(text):
        match = _TOKEN.match(text, position)
        assert match is not None  # every character matches
        kind, value = str(match.lastgroup), match.group()
        position = match.end()
        if kind == "space":
            space = True
            continue
        if kind == "text":
            inside, position = _braced(text, position)
            name = inside.strip()
            called = value.startswith(("\\operatorname", "\\mathrm")) or text[position : position + 1] == "("
            if name in UNCOMPUTED and name not in UNITS and called:
                tokens.append(Token("command", f"\\{name}", space))
            else:
                tokens.extend(_of_text(inside, space))
        elif kind == "chinese":
            for part in _CHINESE_CONNECTIVE.split(value):
                if part:
                    tokens.append(
                        Token("mark" if part in _CONNECTIVES else kind, _CONNECTIVES.get(part, part), space)
                    )
        elif kind == "word" and value.lower() in _CONNECTIVES:
            tokens.append(Token("mark", _CONNECTIVES[value.lower()], space))
        elif kind == "number" and len(value) > LONGEST_DIGITS:
            raise Unreadable("a number is too long")
        else:
            value = _ALIASES.get(value, value)
            tokens.append(
                Token(
                    "command" if value.startswith("\\") else "mark" if kind == "command" else kind,
                    value,
                    space,
                )
            )
        space = False
        if len(tokens) > MOST_TOKENS:
            raise Unreadable("the answer is too long")
    tokens.append(Token("end", "", False))
    return tokens


def _of_text(inside: str, space: bool) -> list[Token]:
    r"""The tokens of `\text{…}`: a connective, a letter, a function, a number, a choice or words."""
    words = inside.strip(" .,;:~")
    plain = words.lower()
    if not words:
        return []
    if plain in _CONNECTIVES:
        return [Token("mark", _CONNECTIVES[plain], space)]
    if len(words) == 1 and words.isalpha() and words.isascii():
        return [Token("text", words, space)]
    if plain in FUNCTIONS or plain in CONSTANTS:
        return [Token("word", plain, space)]
    if words[0].isalpha() and not words.isalpha() and scale(words):
        return [Token("text", words, space)]
    if any(mark.isdigit() for mark in words) or "\\" in words or re.fullmatch(r"\([A-Z]\)", words):
        return [Token(token.kind, token.value, token.space) for token in tokenize(words)[:-1]]
    chinese = all("\u4e00" <= mark <= "\u9fff" for mark in words)
    return [Token("chinese" if chinese else "text", words, space)]


def _braced(text: str, start: int) -> tuple[str, int]:
    depth = 1
    for match in _CLOSE.finditer(text, start):
        depth += 1 if match.group() == "{" else -1
        if depth == 0:
            return text[start : match.start()], match.end()
    raise Unreadable("braces do not match")


class Cursor:
    """A position in a list of tokens."""

    def __init__(self, tokens: list[Token]) -> None:
        self.tokens = tokens
        self.position = 0

    @property
    def token(self) -> Token:
        """The next token."""
        return self.tokens[self.position]

    def peek(self, offset: int = 1) -> Token:
        """The token `offset` positions after the next one."""
        return self.tokens[min(self.position + offset, len(self.tokens) - 1)]

    def take(self) -> Token:
        """Consumes the next token, unless it is the end."""
        token = self.tokens[self.position]
        if token.kind != "end":
            self.position += 1
        return token

    def accept(self, value: str) -> bool:
        """Consumes a mark or command if it is next; returns whether it was."""
        token = self.tokens[self.position]
        if token.value == value and token.kind in ("mark", "command"):
            self.position += 1
            return True
        return False

    def expect(self, value: str) -> None:
        """Consumes a mark or command; raises `Unreadable` if another token is next."""
        if not self.accept(value):
            raise Unreadable(f"expected {value} before {self.token.value or 'the end'}")
