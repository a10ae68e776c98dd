"""Whether a text is understood as mathematics, and the expression that a sentence ends with."""

from __future__ import annotations

import re

from mathloop.answers.masking import NUMBER
from mathloop.answers.normalization import normalize
from mathloop.answers.nouns import droppable
from mathloop.answers.syntax import Collection, Quantity, Text
from mathloop.answers.tokens import Unreadable
from mathloop.answers.tree import read
from mathloop.answers.units import scale

_LONGEST_READ = 200
GLUED = re.compile(r"(?:[\^_*/×·√)\]}]|\bsqrt)\s?$|(?<![A-Za-z])[A-Za-z]\($|[_^]\w{1,3}\s$")
_TWO_SENTENCES = re.compile(r"[a-z]{2}[.!?]\s+[A-Z][a-z]")
_MEASURE = re.compile(r"\b(?:area|volume)\b", re.IGNORECASE)
_METERS = re.compile(r"(?<=\d)\sm\^\{?([23])\}?$")
_OPERAND = re.compile(r"[-+*/^=<>×÷·−]\s*$")


def is_mathematics(text: str) -> bool:
    """Whether the parser understands all of a text, but for a unit or noun, as mathematics."""
    if len(text) > _LONGEST_READ and _TWO_SENTENCES.search(text):
        return False  # what the parser finds too, 30 times slower
    try:
        node = read(normalize(text))
    except (Unreadable, RecursionError, ArithmeticError):
        return False
    if isinstance(node, Quantity):
        return scale(node.unit) is not None or droppable(node.unit)
    if isinstance(node, Collection) and node.kind in ("list", "sequence"):
        return not any(isinstance(item, Text) for item in node.items)
    return not isinstance(node, Text)


def is_read(phrase: str) -> bool:
    return len(phrase) <= _LONGEST_READ and is_mathematics(phrase)


def expression_at_end(sentence: str) -> str | None:
    """The expression that a sentence ends with, from its first number on; None if it is not clear."""
    ending = sentence.strip(" \t.,;!")
    for number in [*NUMBER.finditer(ending)][-4:]:
        if not GLUED.search(ending, 0, number.start()) and ending[: number.start()].endswith((" ", "$")):
            whole = ending[number.start() :]
            if _MEASURE.search(ending):
                whole = _METERS.sub(r" \\text{meters}^\1", whole)
            return whole if is_read(whole) and not _OPERAND.search(ending, 0, number.start()) else None
    return None
