"""MathML to LaTeX, for formulas of web pages that come with no LaTeX of their own."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

_DEPTH = 40
"""Deeper formulas become the text that they contain."""
_SIGNS = "−×⋅·÷±∓≤≥≠≈≡∼≅∝∞∑∏∫∮∂∇√∈∉∋⊂⊆⊃⊇∪∩∅∀∃¬∧∨→←⇒⇐⇔↔↦↑↓∘⊕⊗⊥∥∠△…⋯′°⟨⟩⌊⌋⌈⌉‖ℝℤℕℚℂ∗∣∤≪≫≺⊢⊨"
_SIGN_COMMANDS = (
    r"- \times \cdot \cdot \div \pm \mp \le \ge \ne \approx \equiv \sim \cong \propto \infty \sum"
    r" \prod \int \oint \partial \nabla \surd \in \notin \ni \subset \subseteq \supset \supseteq"
    r" \cup \cap \emptyset \forall \exists \neg \land \lor \to \gets \Rightarrow \Leftarrow"
    r" \Leftrightarrow \leftrightarrow \mapsto \uparrow \downarrow \circ \oplus \otimes \perp"
    r" \parallel \angle \triangle \ldots \cdots ' ^\circ \langle \rangle \lfloor \rfloor \lceil"
    r" \rceil \| \mathbb{R} \mathbb{Z} \mathbb{N} \mathbb{Q} \mathbb{C} * \mid \nmid \ll \gg \prec"
    r" \vdash \models"
)
_LETTERS = "αβγδεϵζηθϑικλμνξπρσςτυφϕχψωΓΔΘΛΞΠΣΥΦΨΩ"
_LETTER_COMMANDS = (
    r"\alpha \beta \gamma \delta \varepsilon \epsilon \zeta \eta \theta \vartheta \iota \kappa"
    r" \lambda \mu \nu \xi \pi \rho \sigma \varsigma \tau \upsilon \varphi \phi \chi \psi \omega"
    r" \Gamma \Delta \Theta \Lambda \Xi \Pi \Sigma \Upsilon \Phi \Psi \Omega"
)
_SYMBOLS = dict(zip(_SIGNS, _SIGN_COMMANDS.split(), strict=True))
_GREEK = dict(zip(_LETTERS, _LETTER_COMMANDS.split(), strict=True))
_INVISIBLE = dict.fromkeys(map(ord, "\u2061\u2062\u2063\u2064\u200b\u2060\ufeff"), None)
_FUNCTION_NAMES = (
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln lg exp lim max min sup inf gcd det"
    " dim ker deg arg Pr"
)
_FUNCTIONS = frozenset(_FUNCTION_NAMES.split())
_SPECIAL = re.compile(r"[#$%&_{}]")
_ACCENTS = {
    "¯": "overline",
    "‾": "overline",
    "_": "overline",
    "\u0332": "overline",
    "^": "hat",
    "ˆ": "hat",
    "~": "tilde",
    "˜": "tilde",
    "→": "vec",
    "⃗": "vec",
    "˙": "dot",
    ".": "dot",
    "¨": "ddot",
    "⏞": "overbrace",
}
_PMATRIX, _CASES = (rf"\\begin{{{name}}}\1\\end{{{name}}}" for name in ("pmatrix", "cases"))
_LIMITS = ("\\sum", "\\prod", "\\int", "\\oint", "\\cup", "\\cap")


def latex_of(formula: Any) -> str:
    """The LaTeX of a `math` element (a DOM node of resiliparse), without dollar signs.

    The page's own LaTeX comes first: a TeX annotation, `alttext`, or `data-tex` and the like.
    """
    for annotation in formula.query_selector_all('annotation[encoding*="tex" i]').values():
        if annotation.text.strip():
            return _cleaned(annotation.text)
    for name in ("alttext", "data-tex", "data-latex"):
        if formula.hasattr(name) and formula[name].strip():
            return _cleaned(formula[name])
    latex = re.sub(r"\(\\binom(\{[^{}]*\}\{[^{}]*\})\)", r"\\binom\1", _row(formula, 0))
    latex = re.sub(r"\(\\begin\{matrix\}(((?!matrix).)*)\\end\{matrix\}\)", _PMATRIX, latex)
    return _cleaned(re.sub(r"\\\{\\begin\{matrix\}(((?!matrix).)*)\\end\{matrix\}(?!\\\})", _CASES, latex))


def _cleaned(latex: str) -> str:
    latex = re.sub(r"\s+", " ", latex).strip().strip("$")
    inner = re.fullmatch(r"\{\s*\\displaystyle\s*(.*)\}", latex)
    return inner[1].strip() if inner else latex.removeprefix("\\displaystyle").strip()


def _name(node: Any) -> str:
    return str(node.tag).rpartition(":")[2].lower()


def _children(node: Any) -> list[Any]:
    # `values`, since going through the list itself takes quadratic time.
    return [child for child in node.child_nodes.values() if not child.tag.startswith("#")]


def _row(node: Any, depth: int) -> str:
    return _joined([_latex(child, depth + 1) for child in _children(node)])


def _joined(parts: Sequence[str]) -> str:
    """Parts side by side; a command is separated from a letter after it."""
    text = ""
    for part in parts:
        if part and text and re.search(r"\\[A-Za-z]+$", text) and (part[0].isalnum() or ord(part[0]) > 127):
            text += " "
        text += part
    return text


def _latex(node: Any, depth: int) -> str:
    name = _name(node)
    if name in ("mi", "mn", "mo", "mtext", "ms") or depth > _DEPTH:
        return _token("mtext" if depth > _DEPTH else name, node.text)
    if name in ("annotation", "annotation-xml", "mphantom", "none", "mprescripts"):
        return ""
    if name == "mspace":
        return " "
    children = _children(node)
    if name == "semantics":
        return _latex(children[0], depth + 1) if children else ""
    parts = [_latex(child, depth + 1).strip() for child in children]
    if (
        name == "mfrac"
        and len(parts) >= 2
        and node.hasattr("linethickness")
        and node["linethickness"][:1] == "0"
    ):
        return rf"\binom{{{parts[0]}}}{{{parts[1]}}}"
    if name in _BUILT and len(parts) >= _BUILT[name][0]:
        return str(_BUILT[name][1](parts))
    if name == "mtr":
        return " & ".join(parts)
    if name == "mtable":
        return r"\begin{matrix}" + r" \\ ".join(parts) + r"\end{matrix}"
    if name == "msqrt":
        return rf"\sqrt{{{_joined(parts)}}}"
    if name == "mfenced":
        opening = node["open"] if node.hasattr("open") else "("
        closing = node["close"] if node.hasattr("close") else ")"
        return _bracket(opening) + ",".join(parts) + _bracket(closing)
    return _joined(parts)


def _token(name: str, raw: str) -> str:
    text = re.sub(r"\s+", " ", raw.translate(_INVISIBLE)).strip()
    if name in ("mtext", "ms"):
        return rf"\text{{{_SPECIAL.sub(' ', raw)}}}" if text else " "
    if name == "mi" and len(text) > 1 and text.isalpha() and text.isascii():
        return f"\\{text}" if text in _FUNCTIONS else rf"\mathrm{{{text}}}"
    if name == "mo" and text in _FUNCTIONS:
        return f"\\{text}"
    if text == "\\":
        return r"\setminus"
    written = [_SYMBOLS.get(letter) or _GREEK.get(letter) or _escaped(letter) for letter in text]
    return _joined(written)


def _escaped(letter: str) -> str:
    return f"\\{letter}" if _SPECIAL.match(letter) else letter


def _bracket(text: str) -> str:
    return _joined([_SYMBOLS.get(letter) or _escaped(letter) for letter in text])


def _grouped(latex: str) -> str:
    """As a base or an index: in braces, unless it is one character."""
    return latex if len(latex) == 1 else f"{{{latex}}}"


def _under(parts: list[str]) -> str:
    if parts[0].startswith(("\\lim", "\\max", "\\min", "\\sup", "\\inf", *_LIMITS)):
        return f"{parts[0]}_{_grouped(parts[1])}"
    return rf"\underset{{{parts[1]}}}{{{parts[0]}}}"


def _over(parts: list[str]) -> str:
    mark = parts[1].strip()
    if mark == "\\to":
        return rf"\vec{{{parts[0]}}}"
    if mark in _ACCENTS or mark == "\\_":
        return rf"\{_ACCENTS.get(mark, 'overline')}{{{parts[0]}}}"
    if parts[0].startswith(_LIMITS):
        return f"{parts[0]}^{_grouped(parts[1])}"
    return rf"\overset{{{parts[1]}}}{{{parts[0]}}}"


def _base(latex: str) -> str:
    """A base of indices; a lone command or a bracketed group needs no braces."""
    plain = len(latex) == 1 or re.fullmatch(r"\\[A-Za-z]+|[0-9.]+|\\mathrm\{[A-Za-z]*\}", latex)
    return latex if plain else f"{{{latex}}}"


_BUILT: dict[str, tuple[int, Any]] = {
    "mfrac": (2, lambda p: rf"\frac{{{p[0]}}}{{{p[1]}}}"),
    "mroot": (2, lambda p: rf"\sqrt[{p[1]}]{{{p[0]}}}"),
    "msup": (
        2,
        lambda p: p[0] + "'" * len(p[1]) if set(p[1]) == {"'"} else f"{_base(p[0])}^{_grouped(p[1])}",
    ),
    "msub": (2, lambda p: f"{_base(p[0])}_{_grouped(p[1])}"),
    "msubsup": (3, lambda p: f"{_base(p[0])}_{_grouped(p[1])}^{_grouped(p[2])}"),
    "munder": (2, _under),
    "mover": (2, _over),
    "munderover": (3, lambda p: f"{p[0]}_{_grouped(p[1])}^{_grouped(p[2])}"),
}
"""Element → fewest children, and how their LaTeX is put together."""
