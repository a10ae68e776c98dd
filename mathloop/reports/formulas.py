"""Formulas in a report: the trees of `mathloop.typesetting` as markup."""

from __future__ import annotations

from mathloop.reports.markup import Child, Markup, clip, element
from mathloop.typesetting import ELEMENTS, Node, typeset, typeset_answer


def formulas(text: str) -> list[Child]:
    """The text with its formulas rendered; one that cannot be rendered is shown as it is written."""
    return [_markup(piece) if isinstance(piece, Node) else piece for piece in typeset(text)]


def answer_formula(answer: str) -> list[Child]:
    """A final answer, rendered if it is a formula."""
    return [_markup(piece) if isinstance(piece, Node) else clip(piece) for piece in typeset_answer(answer)]


def _markup(node: Node) -> Markup:
    assert node.name in ELEMENTS
    children = [_markup(child) if isinstance(child, Node) else child for child in node.children]
    attributes = {f"{name}_": value for name, value in node.attributes.items()}
    return element(node.name, children, **attributes)
