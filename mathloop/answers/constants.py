"""The real value of a constant answer."""

from __future__ import annotations

from mathloop.answers import deadline
from mathloop.answers.deadline import Undecided
from mathloop.answers.expressions import constant_value
from mathloop.answers.normalization import normalize
from mathloop.answers.syntax import Quantity, Relation, Symbol
from mathloop.answers.tokens import Unreadable
from mathloop.answers.tree import read

_SECONDS = 0.2


def value_of(answer: str) -> float | None:
    """The real value of an answer that is one expression without variables, ignoring units and a name: k = 1.

    None for anything else, and for an answer that takes longer than a fifth of a second to read.
    """
    deadline.start(_SECONDS)
    try:
        node = read(normalize(answer))
        if isinstance(node, Relation) and node.operators == ("=",) and isinstance(node.sides[0], Symbol):
            node = node.sides[1]
        return constant_value(node.value if isinstance(node, Quantity) else node)
    except (Unreadable, Undecided, RecursionError):
        return None
    finally:
        deadline.stop()
