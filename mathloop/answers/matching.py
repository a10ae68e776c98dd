"""Items of two collections, matched in order or in any order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from mathloop.answers import ranges
from mathloop.answers.deadline import Undecided
from mathloop.answers.syntax import (
    ZERO,
    Node,
    multiply,
)

MOST_ITEMS = 120


class Matching(ABC):
    """Compares sequences of answers."""

    @abstractmethod
    def same(self, left: Node, right: Node) -> bool:
        """Whether two answers are equal."""

    def in_order(self, left: Sequence[Node], right: Sequence[Node]) -> bool:
        return len(left) == len(right) and all(map(self.same, left, right))

    def any_order(self, left: Sequence[Node], right: Sequence[Node]) -> bool:
        one, other = self.distinct(left), self.distinct(right)
        if len(one) != len(other):
            return False
        return self.matched(one, other)

    def matched(self, one: Sequence[Node], other: list[Node]) -> bool:
        """Whether the items are the same in any order, with equal multiplicity."""
        if len(one) > MOST_ITEMS:
            raise Undecided("too many items to match")
        for item in one:
            match = next((index for index, candidate in enumerate(other) if self.same(item, candidate)), None)
            if match is None:
                return False
            del other[match]
        return True

    def distinct(self, items: Sequence[Node]) -> list[Node]:
        if len(items) > MOST_ITEMS:
            raise Undecided("too many items to match")
        unique: list[Node] = []
        for item in items:
            if item not in unique and not any(self.same(item, other) for other in unique):
                unique.append(item)
        return unique

    def ratios(self, left: Sequence[Node], right: Sequence[Node]) -> bool:
        if any(self.same(item, ZERO) for item in (*left, *right)):
            return self.in_order(left, right)  # 0 : 3 and 25 : 0 are not ratios
        return len(left) == len(right) and all(
            self.same(multiply(left[0], after), multiply(right[0], before))
            for before, after in zip(left[1:], right[1:], strict=True)
        )

    def pieces(self, left: list[ranges.Piece], right: list[ranges.Piece]) -> bool:
        return len(left) == len(right) and all(
            one.ends == other.ends and self.same(one.low, other.low) and self.same(one.high, other.high)
            for one, other in zip(left, right, strict=True)
        )
