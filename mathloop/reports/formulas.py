"""Formulas in a report: the trees of `mathloop.typesetting` as markup."""

from __future__ import annotations

import re

from mathloop.reports.markup import Child, Markup, clip, element
from mathloop.typesetting import ELEMENTS, Node, to_mathml, typeset

_LATEX = re.compile(r"\\[A-Za-z]|[\^_]")


def formulas(text: str) -> list[Child]:
    """The text with its formulas rendered; one that cannot be rendered is shown as it is written."""
    return [_markup(piece) if isinstance(piece, Node) else piece for piece in typeset(text)]


def answer_formula(answer: str) -> Child:
    """An answer, which is LaTeX without dollar signs where it is more than a number or words."""
    node = to_mathml(answer) if _LATEX.search(answer) and "$" not in answer else None
    return clip(answer) if node is None else _markup(node)


def _markup(node: Node) -> Markup:
    assert node.name in ELEMENTS
    children = [_markup(child) if isinstance(child, Node) else child for child in node.children]
    attributes = {f"{name}_": value for name, value in node.attributes.items()}
    return element(node.name, children, **attributes)
