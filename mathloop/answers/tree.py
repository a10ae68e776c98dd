"""The tree of a normalized answer, read once for all the rooms that ask for it."""

from __future__ import annotations

from functools import lru_cache

from mathloop.answers.reading import read_answer
from mathloop.answers.syntax import Node
from mathloop.answers.tokens import Unreadable

LONGEST = 6000
"""Characters; a longer answer equals only an identical one."""
LONGEST_CACHED = 1000


def read(text: str) -> Node:
    """The tree of a normalized answer.

    Raises `Unreadable` if it is neither mathematics nor plain words.
    """
    if len(text) > LONGEST:
        raise Unreadable("the answer is too long")
    node = _cached(text) if len(text) <= LONGEST_CACHED else _node_or_fault(text)
    if isinstance(node, str):
        raise Unreadable(node)
    return node


def _node_or_fault(text: str) -> Node | str:
    """The tree, or why there is none."""
    try:
        return read_answer(text)
    except Unreadable as fault:
        return str(fault)
    except RecursionError:
        return "nested too deeply"
    except ValueError:
        return "a number is too long"


_cached = lru_cache(maxsize=1024)(_node_or_fault)
