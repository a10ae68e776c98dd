"""Why two answers are not equal, in one sentence."""

from __future__ import annotations

from mathloop.answers.nouns import droppable
from mathloop.answers.simplification import simplify
from mathloop.answers.syntax import Apply, Collection, Node, Number, Quantity, Relation, Symbol, Text
from mathloop.answers.units import scale

LONGEST_SHOWN = 60
_PLURALS = {
    "list": "a list", "sequence": "a sequence", "set": "a set", "tuple": "a tuple", "row": "a row",
    "interval": "an interval", "union": "a union of sets", "difference": "a difference of sets",
    "intersection": "an intersection of sets", "matrix": "a matrix", "ratio": "a ratio",
    "pieces": "a piecewise function", "division": "a quotient with remainder",
}  # fmt: skip


def why_not(gold: Node, answer: Node, gold_text: str, answer_text: str) -> str:
    """The first difference between two answers that were read and found unequal."""
    gold, answer = simplify(gold), simplify(answer)
    shown = _shown(answer_text)
    for node, text in ((answer, answer_text), (gold, gold_text)):
        if isinstance(node, Text) and any(mark.isdigit() or mark in "\\=" for mark in text):
            return f"{_shown(text)} was not understood as mathematics, so it equals only the same text"
    if isinstance(gold, Text) and isinstance(answer, Text):
        return f"the words differ: {shown}, expected {_shown(gold_text)}"
    for node in (answer, gold):
        if isinstance(node, Quantity) and not scale(node.unit) and not droppable(node.unit):
            return f'the words "{node.unit}" after the number change it, so they may not be left out'
    if isinstance(gold, Quantity) and isinstance(answer, Quantity):
        return _quantities(gold, answer)
    if isinstance(gold, Collection) and isinstance(answer, Collection):
        return _collections(gold, answer)
    kinds = _kind(gold), _kind(answer)
    if kinds[0] != kinds[1]:
        return f"{shown} is {kinds[1]}, but {kinds[0]} was expected"
    return f"the values differ: {shown}, expected {_shown(gold_text)}"


def _quantities(gold: Quantity, answer: Quantity) -> str:
    one, other = scale(gold.unit), scale(answer.unit)
    if (one and one[0]) != (other and other[0]) or not one:
        return f"the units differ: {answer.unit}, expected {gold.unit}"
    return f"the amounts differ, in {answer.unit} and {gold.unit}"


def _collections(gold: Collection, answer: Collection) -> str:
    if gold.kind != answer.kind and {gold.kind, answer.kind} != {"list", "set"}:
        return f"the answer is {_PLURALS[answer.kind]}, but {_PLURALS[gold.kind]} was expected"
    if gold.ends != answer.ends:
        return f"the brackets or connectives differ: {answer.ends or 'none'}, expected {gold.ends or 'none'}"
    if len(gold.items) != len(answer.items):
        return f"{len(answer.items)} values, but {len(gold.items)} were expected"
    return "one of the values differs, or their order where it matters"


def _kind(node: Node) -> str:
    match node:
        case Text():
            return "words"
        case Relation(_, operators):
            return "an equation" if set(operators) <= {"=", "~"} else "a relation"
        case Quantity():
            return "a value with a unit"
        case Collection(kind, _, _):
            return _PLURALS[kind]
        case Number() | Symbol() | Apply():
            return "an expression"


def _shown(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 1] + "…"
