"""A formula in LaTeX becomes MathML Core, as a tree that holds nothing but known elements and attributes.

The conversion is math-core's. It is compiled code that recurses without a bound, so that deep nesting would
end the process: length and depth are bounded before it, and definitions of commands, with which a short
formula can be a deep one, are refused.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import Any, NamedTuple
from xml.etree import ElementTree

LONGEST = 2_000
"""Characters of a formula. The longest of the benchmarks has 1,330."""
DEEPEST = 32
"""Braces within braces. The deepest formula of the benchmarks has 6."""
DEEPEST_TREE = 60
"""MathML elements within elements."""
LARGEST = 50_000
"""Characters of a formula's MathML."""

ELEMENTS = frozenset([
    "math", "menclose", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded", "mphantom",
    "mprescripts", "mroot", "mrow", "ms", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable",
    "mtd", "mtext", "mtr", "munder", "munderover", "code",
])  # fmt: skip
"""Names of nodes."""
_ATTRIBUTES = frozenset([
    "accent", "accentunder", "class", "columnspan", "depth", "display", "displaystyle", "form", "height",
    "largeop", "linethickness", "lspace", "mathcolor", "mathvariant", "maxsize", "minsize", "movablelimits",
    "notation", "rowspan", "rspace", "scriptlevel", "separator", "stretchy", "style", "symmetric", "voffset",
    "width",
])  # fmt: skip
_VALUE = re.compile(r"[-+.#%\w ]{0,60}")
_STYLE = re.compile(
    r"(?:(?:text-align|justify-items|(?:padding|margin|border)-(?:left|right|top|bottom))"
    r" ?: ?[-.\w ]{1,40}+(?:; ?|\Z))*+"
)
_DEFINES = re.compile(
    r"\\(?:\w*newcommand|providecommand|DeclareMathOperator|[egx]?def|let|futurelet)(?![A-Za-z])"
)
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_ENTITY = re.compile(r"&(?!(?:lt|gt|amp|quot|apos);)\w+;")
_TAG = re.compile(r"\\tag\s*+\*?+\s*+\{([^{}]*+)\}")
_CR = re.compile(r"\\cr(?![A-Za-z])")
_NUMBERED = re.compile(r"(\\(?:begin|end)\{(?:align|equation|gather))\}")
_COLUMNS = re.compile(r"(\\begin\{array\}\s*+\{)((?:[^{}]|\{[^{}]*+\})*+)\}")
_COLUMN = re.compile(r"[@!<>*p]\{[^{}]*+\}")
MACROS = {
    "dotsb": r"\cdots",
    "dotsm": r"\cdots",
    "mbox": r"\text{#1}",
    "textnormal": r"\text{#1}",
    "textcircled": r"(\text{#1})",
    "substack": r"\begin{matrix}#1\end{matrix}",
    "norm": r"\left\lVert #1\right\rVert",
    "abs": r"\left\lvert #1\right\rvert",
    "fbox": r"\boxed{\text{#1}}",
}
"""Commands that benchmarks use and math-core does not know."""


class Node(NamedTuple):
    """An element, as it is written to JSON: name, attributes, children."""

    name: str
    attributes: dict[str, str]
    children: tuple[Node | str, ...]


def to_mathml(source: str, display: bool = False) -> Node | None:
    """The formula's `math` node; None if it is unbalanced, too long or deep, or unknown.

    `display` gives it a line of its own.
    """
    if len(source) > LONGEST or _DEFINES.search(source) or _depth(source) > DEEPEST:
        return None
    from math_core import LatexError

    try:
        written = _converter().convert_with_local_state(_prepare(source), displaystyle=display)
    except (LatexError, UnicodeError):
        return None
    if len(written) > LARGEST:
        return None
    try:
        tree = ElementTree.fromstring(_ENTITY.sub(lambda found: html.unescape(found[0]), written))
    except ElementTree.ParseError:
        return None
    return _checked(tree)


@lru_cache(maxsize=1)
def _converter() -> Any:
    from math_core import LatexToMathML

    return LatexToMathML(macros=MACROS, fancy_error=False, max_expansions=200)


def _depth(source: str) -> int:
    depth = deepest = 0
    for brace in _BRACE.finditer(source):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        deepest = max(deepest, depth)
    return deepest


def _prepare(source: str) -> str:
    """The source in words that math-core knows; no equation is numbered, since nothing refers to one."""
    source = _TAG.sub(r"\\qquad\\text{(\1)}", source.strip())
    source = _NUMBERED.sub(r"\1*}", _CR.sub(r"\\\\", source))
    return _COLUMNS.sub(lambda found: found[1] + _COLUMN.sub("", found[2]) + "}", source)


_LINES = {"mover": ("overline", "\u203e"), "munder": ("underline", "_")}
_STRETCHED = (Node("mo", {"stretchy": "true"}, ("\u0332",)), Node("mo", {"stretchy": "true"}, ("\u0305",)))


class _TooDeep(Exception):
    """The MathML is too deep for a browser."""


def _checked(tree: ElementTree.Element) -> Node | None:
    """The tree without unknown attributes, and with the text of unknown elements; None if it is too deep."""
    try:
        found = _node(tree, 0)
    except _TooDeep:
        return None
    return found if isinstance(found, Node) else None


def _node(tree: ElementTree.Element, depth: int) -> Node | str:
    if depth > DEEPEST_TREE:
        raise _TooDeep
    if tree.tag not in ELEMENTS:
        return "".join(tree.itertext())
    children: list[Node | str] = [tree.text] if tree.text else []
    for child in tree:
        children.append(_node(child, depth + 1))
        if child.tail:
            children.append(child.tail)
    attributes = {name: value for name, value in tree.attrib.items() if _allowed(name, value)}
    if tree.tag in _LINES and len(children) == 2 and children[1] in _STRETCHED:
        # Only a font with a MATH table could stretch this character: the page's style draws the line.
        name, sign = _LINES[tree.tag]
        return Node(tree.tag, {**attributes, "class": name}, (children[0], Node("mo", {}, (sign,))))
    return Node(tree.tag, attributes, tuple(children))


def _allowed(name: str, value: str) -> bool:
    if name == "style":
        return _STYLE.fullmatch(value) is not None
    return name in _ATTRIBUTES and _VALUE.fullmatch(value) is not None
