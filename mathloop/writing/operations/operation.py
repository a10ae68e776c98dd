"""An operation: what a text that a model wrote must have in common with its parents, and what not."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mathloop.records import Language, Problem

Check = Callable[[Sequence[Problem], str], str]
"""(parents, statement) → why the statement is not what was asked for; empty if it is."""


def no_check(parents: Sequence[Problem], statement: str) -> str:
    """Nothing beyond the checks that every statement must pass."""
    return ""


@dataclass(frozen=True)
class Operation:
    """One way to a new problem."""

    name: str
    summary: str
    """For people, in a few words."""
    fields: tuple[str, ...] = ("problem",)
    """Fields of a prompt, one per parent: {problem}, {second}."""
    keeps_answer: bool = False
    """Whether the gold answer of the parent is that of the new problem."""
    writes: Language | None = None
    """Language of the new problem; None: its parent's."""
    check: Check = no_check
