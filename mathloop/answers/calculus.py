r"""Reads derivatives and integrals, which are kept and never computed: `\frac{dy}{dx}`, `\int_0^1 x\,dx`."""

from __future__ import annotations

import re

from mathloop.answers.grammar import Grammar
from mathloop.answers.syntax import ONE, Apply, Node, Symbol
from mathloop.answers.tokens import Token, Unreadable

_DIFFERENTIAL = re.compile(r"([a-zA-Z]*)d([a-zA-Z])")
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")
_LONGEST = 60
"""Tokens of a quotient of differentials, or of an integrand."""


def read_integral(parser: Grammar) -> Node:
    r"""`\int_a^b f(x)\,dx`; the sign has been consumed. Raises `Unreadable` without a differential."""
    ends: dict[str, Node] = {}
    while parser.token.value in ("_", "^") and parser.token.kind == "mark":
        side = parser.take().value
        ends[side] = parser.argument(digits=1)
    if len(ends) == 1:
        raise Unreadable("an integral over a region")
    _mark_differential(parser)
    body = ONE if parser.token.kind == "differential" else parser.expression()
    if parser.token.kind != "differential":
        raise Unreadable("an integral without a differential")
    variable = Symbol(parser.take().value)
    return Apply("integral", (variable, *(ends[side] for side in "_^" if side in ends), body))


def _mark_differential(parser: Grammar) -> None:
    """Makes the first `dx` outside brackets one token of its own kind."""
    depth = 0
    for place in range(parser.position, min(parser.position + _LONGEST, len(parser.tokens))):
        kind, value, space = parser.tokens[place]
        depth += (value in _OPENING) - (value in _CLOSING) if kind == "mark" else 0
        if depth or kind not in ("word", "text"):
            continue
        following = parser.tokens[place + 1]
        if value.endswith("d") and following.kind in ("word", "command") and len(value) < 3:
            letter = following.value.lstrip("\\")
            if (following.kind == "word" and len(letter) != 1) or (kind == "word" and following.space):
                continue
            before, end = value[:-1], place + 2
        elif (match := _DIFFERENTIAL.fullmatch(value)) and kind == "word":
            before, letter, end = match.group(1), match.group(2), place + 1
        else:
            continue
        head = [Token("word", before, space)] if before else []
        parser.tokens[place:end] = [*head, Token("differential", letter, space)]
        return
    raise Unreadable("an integral without a differential")


def read_derivative(parser: Grammar) -> Node | None:
    r"""`\frac{dy}{dx}` or `\frac{d}{dx}` and what follows; None, consuming nothing, for other fractions."""
    start = parser.position
    top, middle = _in_braces(parser, start)
    bottom, end = _in_braces(parser, middle)
    if not _begins_differential(top) or not _begins_differential(bottom) or len(bottom) < 1:
        return None
    if bottom[0].value in ("d", "\\partial") and len(bottom) == 1:
        return None
    below = "".join(token.value for token in bottom)
    function, order = _without_d(top)
    operator = Symbol(f"derivative {order} {below}")
    parser.position = end
    if not function:
        return Apply("call", (operator, parser.term()))
    return Apply("call", (operator, Symbol("".join(token.value for token in function))))


def _begins_differential(tokens: list[Token]) -> bool:
    if not tokens:
        return False
    kind, value, _ = tokens[0]
    if kind == "command":
        return value == "\\partial"
    return kind in ("word", "text") and value.startswith("d") and len(value) <= 2


def _without_d(top: list[Token]) -> tuple[list[Token], str]:
    """The function and the order of `d^2y`."""
    first, *rest = top
    if first.kind == "word" and len(first.value) > 1:
        return [Token("word", first.value[1:], False), *rest], ""
    if rest and rest[0].value == "^":
        if len(rest) > 3 and rest[1].value == "{":
            return rest[4:], rest[2].value
        return rest[2:], rest[1].value if len(rest) > 1 else ""
    return rest, ""


def _in_braces(parser: Grammar, start: int) -> tuple[list[Token], int]:
    """The tokens inside the braces that open at `start`, and the position after them."""
    if parser.tokens[min(start, len(parser.tokens) - 1)].value != "{":
        return [], start
    depth = 0
    for place in range(start, min(start + _LONGEST, len(parser.tokens))):
        kind, value, _ = parser.tokens[place]
        if kind == "mark":
            depth += (value == "{") - (value == "}")
        if not depth:
            return parser.tokens[start + 1 : place], place + 1
    return [], start


def plain_derivative(parser: Grammar, word: str) -> Node | None:
    """`dy/dx` in plain text, whose first word has been consumed; None for anything else."""
    slash, below = parser.token, parser.peek()
    differentials = len(word) == len(below.value) == 2 and word[0] == below.value[0] == "d"
    if not differentials or slash.value != "/" or below.kind != "word":
        return None
    parser.position += 2
    return Apply("call", (Symbol(f"derivative  {below.value}"), Symbol(word[1])))
