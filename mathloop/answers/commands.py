"""LaTeX commands and named functions: fractions, roots, sums, accents, matrices."""

from __future__ import annotations

from mathloop.answers.calculus import read_derivative, read_integral
from mathloop.answers.functions import read_function, read_uncomputed
from mathloop.answers.grammar import Grammar
from mathloop.answers.syntax import (
    Apply,
    Collection,
    Node,
    Symbol,
    divide,
)
from mathloop.answers.tokens import FUNCTIONS, Token, Unreadable
from mathloop.answers.vocabulary import FUNCTIONS as UNCOMPUTED
from mathloop.answers.vocabulary import LETTERS, OPERATORS, RELATIONS

STOP_COMMANDS = frozenset(
    ("\\}", "\\\\", "\\quad", "\\cup", "\\cap", "\\setminus", "\\end", "\\pm", "\\mp", "\\to", "\\%",
     "\\Rightarrow", "\\rightarrow", "\\implies", "\\pmod", "\\mod", "\\equiv", "\\choose", "\\lor",
     "\\land", "\\rfloor", "\\rceil", "\\over", "\\times", *OPERATORS, *RELATIONS)
)  # fmt: skip
"""Commands that cannot begin a factor."""

_NAMED = {"\\pi": "pi", "\\infty": "oo", "\\emptyset": "empty set", "\\varnothing": "empty set"}
_ACCENTS = frozenset(
    ("\\vec", "\\overrightarrow", "\\bar", "\\overline", "\\hat", "\\widehat", "\\tilde", "\\dot", "\\bm",
     "\\overarc", "\\underline", "\\mathbb", "\\mathcal", "\\mathfrak", "\\boldsymbol", "\\textcircled")
)  # fmt: skip
_ACCENT_SYNONYMS = {"\\overrightarrow": "\\vec", "\\widehat": "\\hat", "\\overline": "\\bar"}
_PLAIN_ACCENTS = frozenset(("\\boldsymbol", "\\bm", "\\underline"))
_SETS = frozenset("RZNQCFHK")
_BEFORE_SETS = frozenset(("\\times", "/", "*", ")"))
_AFTER_SETS = frozenset(("\\times", "/", "*", "(", "["))
_IF = frozenset(("if", "for", "when", "where", "当", "若"))
"""Words that may introduce the condition of a piecewise function."""
_MATRICES = frozenset(("pmatrix", "bmatrix", "matrix", "vmatrix", "Bmatrix", "smallmatrix"))


def read_command(parser: Grammar, token: Token) -> Node:
    """The node of a LaTeX command and its arguments; the command itself has been consumed."""
    name = token.value
    bare = name[1:]
    if name == "\\frac":
        if (derivative := read_derivative(parser)) is not None:
            return derivative
        top = parser.argument(digits=1)
        return divide(top, parser.argument(digits=1))
    if name == "\\binom":
        top = parser.argument(digits=1)
        return Apply("binomial", (top, parser.argument(digits=1)))
    if bare in FUNCTIONS:
        return read_function(parser, bare)
    if name in _NAMED:
        return Symbol(_NAMED[name])
    if name in ("\\lfloor", "\\lceil"):
        inner = parser.expression()
        parser.expect("\\rfloor" if name == "\\lfloor" else "\\rceil")
        return Apply("floor" if name == "\\lfloor" else "ceil", (inner,))
    if name in ("\\sum", "\\prod"):
        return _sum(parser, bare)
    if name in _ACCENTS:
        return _accented(parser, name)
    if name == "\\begin":
        return _environment(parser)
    if name == "\\{":
        return parser.braces()
    if name in ("\\angle", "\\triangle", "\\odot"):
        letters = _letters(parser)
        if name == "\\angle" and len(letters) == 3:
            letters = min(letters, letters[::-1])
        return Symbol(f"{bare} {letters}")
    if name == "\\int":
        return read_integral(parser)
    if name == "\\Delta" and parser.token.kind == "word":
        return _difference(parser)
    if bare in UNCOMPUTED:
        return read_uncomputed(parser, bare)
    if bare not in LETTERS and _stands_alone(parser):
        return Symbol(f"command {bare}")
    if bare not in LETTERS or parser.token.value == "{":
        raise Unreadable(f"the command {name}")
    return parser.indexed(Symbol(bare.removeprefix("var")))


def _stands_alone(parser: Grammar) -> bool:
    """Whether the command that has been consumed is a whole side of a relation or item of a list."""
    start, after = parser.position - 2, parser.token
    ends = ("=", ",", ";", "~", "<", "<=", ">", ">=", "(", ")", "[", "]")
    before = start < 0 or parser.tokens[start].value in ends
    return before and (after.kind == "end" or (after.kind == "mark" and after.value in ends[:-4]))


def _difference(parser: Grammar) -> Node:
    """Δx, a variable of its own; or the triangle ΔABC."""
    letters = parser.token.value
    if len(letters) == 3 and letters.isupper():
        return Symbol("triangle " + _letters(parser))
    parser.tokens[parser.position] = Token("word", letters[1:], False)
    if len(letters) == 1:
        parser.take()
    return parser.indexed(Symbol(f"Delta {letters[0]}"))


def _letters(parser: Grammar) -> str:
    letters = []
    while parser.token.kind in ("word", "number"):
        letters.append(parser.take().value)
        if parser.accept("_"):
            letters.append("_" + parser.take().value)
    if not letters:
        raise Unreadable("an angle without a name")
    return "".join(letters)


def _accented(parser: Grammar, name: str) -> Node:
    """A letter with an arrow or bar: a symbol of its own, named by accent and letter."""
    before = parser.tokens[parser.position - 2] if parser.position > 1 else None
    inside = _braced_text(parser) if parser.accept("{") else parser.take().value
    if name in _PLAIN_ACCENTS and len(inside) == 1:
        return Symbol(inside)
    if name == "\\mathbb" and inside in _SETS:
        if before is not None and (before.kind == "number" or before.value in _BEFORE_SETS):
            raise Unreadable("a product or quotient of sets of numbers")
        return _number_set(parser, inside)
    name = _ACCENT_SYNONYMS.get(name, name)
    return parser.indexed(Symbol(f"{name[1:]} {inside}"))


def _number_set(parser: Grammar, name: str) -> Node:
    r"""A set of numbers: powers are sets of their own, \mathbb{R}^{2 \times 3} is not \mathbb{R}^6."""
    start = parser.position
    plain = name in ("R", "Z", "N", "Q", "C")  # the same as the plain letter
    node = Symbol(name) if plain else parser.indexed(Symbol(f"mathbb {name}"))
    index = "".join(token.value for token in parser.tokens[start : parser.position])
    if parser.token.value == "^" and parser.peek(1 + (parser.peek().value == "{")).kind in ("number", "word"):
        parser.take()
        dimension = _braced_text(parser) if parser.accept("{") else parser.take().value
        node = Symbol(f"mathbb {name}{index}^{dimension}")
    for opening, closing in (("(", ")"), ("[", "]")):  # \mathbb{Q}(\sqrt2), \mathbb{Z}[i]
        if parser.accept(opening):
            adjoined = parser.expression()
            parser.expect(closing)
            node = Apply("call", (Symbol(f"mathbb {name}{index}{opening}"), adjoined))
    if parser.token.value in _AFTER_SETS:
        raise Unreadable("a product, quotient or extension of sets of numbers")
    return node


def _braced_text(parser: Grammar) -> str:
    words: list[str] = []
    depth = 0
    while depth or parser.token.value != "}":
        token = parser.take()
        if token.kind == "end":
            raise Unreadable("braces do not match")
        depth += {"{": 1, "}": -1}.get(token.value, 0)
        words.append(token.value)
    parser.expect("}")
    return "".join(words)


def _sum(parser: Grammar, name: str) -> Node:
    parser.expect("_")
    parser.expect("{")
    variable = parser.atom()
    parser.expect("=")
    low = parser.expression()
    parser.expect("}")
    parser.expect("^")
    high = parser.argument(digits=0)
    return Apply(name, (variable, low, high, parser.term()))


def _environment(parser: Grammar) -> Node:
    r"""`\begin{…}` … `\end{…}` of a matrix."""
    parser.expect("{")
    name = _until_brace(parser)
    if name == "array" and parser.accept("{"):
        _until_brace(parser)
    elif name not in _MATRICES and name != "cases":
        raise Unreadable(f"an environment {name}")
    rows: list[Node] = []
    cells: list[Node] = []
    while not parser.accept("\\end"):
        if parser.accept("&"):
            continue
        if parser.accept("\\\\"):
            rows.append(Collection("row", tuple(cells)))
            cells = []
            continue
        if parser.token.value in (",", ";", ".") and name == "cases":
            parser.take()
            continue
        if parser.token.kind == "text" and parser.token.value.lower() in _IF:
            parser.take()
        cells.append(parser.cell())
    if cells:
        rows.append(Collection("row", tuple(cells)))
    parser.expect("{")
    _until_brace(parser)
    if not rows or len({len(row.items) for row in rows if isinstance(row, Collection)}) != 1:
        raise Unreadable("rows of different lengths")
    if name == "cases":
        if len(rows) > 1 and all(isinstance(row, Collection) and len(row.items) == 2 for row in rows):
            return Collection("pieces", tuple(rows))
        if len(rows) < 2 or any(isinstance(row, Collection) and len(row.items) != 1 for row in rows):
            raise Unreadable("a piecewise function")
        return Collection("list", tuple(row.items[0] for row in rows if isinstance(row, Collection)), "and")
    matrix = Collection("matrix", tuple(rows))
    return Apply("determinant", (matrix,)) if name == "vmatrix" else matrix


def _until_brace(parser: Grammar) -> str:
    words = []
    while not parser.accept("}"):
        token = parser.take()
        if token.kind == "end":
            raise Unreadable("braces do not match")
        words.append(token.value)
    return "".join(words)
