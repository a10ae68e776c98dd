"""How one answer is chosen: a table. A new strategy is one more entry of `STRATEGIES`."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from mathloop.voting.grouping import AnyVoter, Group


@dataclass(frozen=True)
class Strategy:
    """What a strategy needs, and how it ranks the groups of equal answers."""

    summary: str
    """For people: what it chooses."""
    needs: Literal["greedy", "samples", "rewards"]
    """One response at temperature 0; several sampled ones; several that a reward model has scored."""
    rank: Callable[[Group[Any]], float]
    """The group with the highest rank is chosen."""
    grows: Literal["sum", "maximum"] | None = None
    """How a further response changes its group's rank, for `adaptive`: adds 0 to 1, or may exceed it."""


def _highest_reward(group: Group[Any]) -> float:
    return max(group.rewards, default=-math.inf)


STRATEGIES: dict[str, Strategy] = {
    "greedy": Strategy("the one response at temperature 0", "greedy", lambda group: group.votes),
    "maj": Strategy("the answer that most responses give", "samples", lambda group: group.votes, "sum"),
    "rm": Strategy(
        "the answer of the response with the highest reward", "rewards", _highest_reward, "maximum"
    ),
    "weighted": Strategy(
        "the answer with the largest sum of σ(reward)", "rewards", lambda group: group.weight, "sum"
    ),
}


def choose(strategy: str, groups: Sequence[Group[AnyVoter]]) -> Group[AnyVoter]:
    """The group that answers the problem; `groups` holds at least one, as `group_answers` returns them.

    Responses without an answer are chosen only where none has one, and finite rewards come before others.
    Ties go to the answer that was drawn first.
    """
    rank = STRATEGIES[strategy].rank
    answered = [group for group in groups if group.answer is not None]
    return max(answered or groups, key=rank)  # max keeps the first of equals


def share(strategy: str, group: Group[AnyVoter], groups: Sequence[Group[AnyVoter]]) -> float:
    """The group's part of all votes or weights, 0 to 1, for a strategy that ranks groups by such a sum."""
    rank = STRATEGIES[strategy].rank
    total = sum(rank(one) for one in groups)
    return rank(group) / total if total > 0 else 0.0
