"""Formulas in prose: where they begin and end, each replaced by its MathML.

A dollar sign is money as often as mathematics. As in Pandoc, a formula between single dollars begins and ends
with something other than a space and is not followed by a digit; one that holds a backslash, ^, _ or = may
have spaces there, as several benchmarks write it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from mathloop.typesetting.mathml import LONGEST, Node, to_mathml

Convert = Callable[[str, bool], Node | None]
"""`to_mathml`, or something that remembers what it gave: source and whether it has a line of its own."""
MOST = 1_000
"""Openings of formulas that are looked at in one text; the rest stays as it is written."""
_OPENING = re.compile(
    r"\\\\|\\\$|\$\$|\$|\\\(|\\\[|\\begin\{(?P<name>(?:align|aligned|equation|gather|cases|[pbvB]?matrix|array)\*?)\}"
    r"|\\(?:boxed|fbox)\s*+\{"
)
_CLOSING = {"$$": "$$", r"\(": r"\)", r"\[": r"\]"}
_LATEX = re.compile(r"\\[A-Za-z]|[\^_]")
_MATHEMATICAL = re.compile(r"[\\^_=]")
_BLANK_LINE = re.compile(r"\n[ \t]*+\n")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)


def typeset(text: str, most: int = MOST, convert: Convert = to_mathml) -> list[str | Node]:
    """The text in pieces: strings are text, nodes are MathML, or `code` with the source of a formula that
    cannot be rendered. Takes time linear in the length of the text."""
    pieces: list[str | Node] = []
    plain: list[str] = []
    for piece in _pieces(text, most, convert):
        if isinstance(piece, Node):
            if any(plain):
                pieces.append("".join(plain))
            plain.clear()
            pieces.append(piece)
        else:
            plain.append(piece)
    return [*pieces, "".join(plain)] if any(plain) else pieces


def typeset_answer(answer: str, convert: Convert = to_mathml) -> list[str | Node]:
    """A final answer, which is LaTeX without dollar signs where it is more than a number or words."""
    node = convert(answer, False) if _LATEX.search(answer) and "$" not in answer else None
    return [answer] if node is None else [node]


def _pieces(text: str, most: int, convert: Convert) -> Iterator[str | Node]:
    end = position = openings = 0
    closing: dict[int, int] | None = None
    while openings < most and (opening := _OPENING.search(text, position)):
        openings += 1
        start, position = opening.span()
        sign = opening[0]
        if sign in (r"\\", r"\$"):
            yield text[end:start]
            yield "$" if sign == r"\$" else sign
            end = position
            continue
        if sign.endswith("{") and closing is None:
            closing = _closing_braces(text)
        formula = _formula(text, opening, closing or {})
        if formula is None:
            continue
        source, display, position = formula
        yield text[end:start]
        node = convert(source, display)
        yield Node("code", {"class": "tex"}, (text[start:position],)) if node is None else node
        end = position
    yield text[end:]


def _formula(text: str, opening: re.Match[str], closing: dict[int, int]) -> tuple[str, bool, int] | None:
    """Source of the formula that begins there, whether it has a line of its own, and its end."""
    sign, (start, begin) = opening[0], opening.span()
    most = begin + LONGEST
    if sign == "$":
        end = _dollar(text, begin, most)
        source = text[begin:end] if end > 0 else ""
        return (source, False, end + 1) if _is_formula(source, text[end + 1 : end + 2]) else None
    if sign in _CLOSING:
        end = text.find(_CLOSING[sign], begin, most + 2)
        source = text[begin:end] if end > 0 else ""
        if not source.strip() or _BLANK_LINE.search(source):
            return None
        return source, sign != r"\(", end + 2
    if name := opening["name"]:
        last = f"\\end{{{name}}}"
        end = text.find(last, begin, most + len(last))
        return None if end < 0 else (text[start : end + len(last)], True, end + len(last))
    end = closing.get(begin, 0)
    return (text[start:end], False, end) if 0 < end <= most else None


def _closing_braces(text: str) -> dict[int, int]:
    """From the end of every opening brace to the end of its closing one: one pass, however many are open."""
    closing: dict[int, int] = {}
    left: list[int] = []
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            left.append(brace.end())
        elif brace[0] == "}" and left:
            closing[left.pop()] = brace.end()
    return closing


def _dollar(text: str, begin: int, most: int) -> int:
    """The next dollar sign without a backslash, or -1."""
    end = text.find("$", begin, most + 1)
    while end > 0 and text[end - 1] == "\\":
        end = text.find("$", end + 1, most + 1)
    return end


def _is_formula(source: str, after: str) -> bool:
    if not source.strip() or _BLANK_LINE.search(source):
        return False
    if _MATHEMATICAL.search(source):
        return True
    return not source[0].isspace() and not source[-1].isspace() and not after.isdigit()
