"""The responses of one model in one mode as arrays: 21 bytes each."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterator, Sequence

import numpy as np

from mathloop.evaluation.sample_scores import Outcome


class Columns:
    """The responses of one model in one mode, a column per field."""

    def __init__(self) -> None:
        self.problem, self.sample, self.answer = array("i"), array("i"), array("i")
        self.correct, self.reward = array("b"), array("d")

    @property
    def greedy(self) -> bool:
        """Whether there is any greedy response."""
        return -1 in self.sample

    @property
    def drawn(self) -> int:
        """Largest index of a sample, plus one."""
        return max(max(self.sample, default=-1) + 1, 0)

    def sample_rewards(self) -> Iterator[float]:
        """Rewards of all samples, without the greedy responses; NaN where there is none."""
        return (reward for sample, reward in zip(self.sample, self.reward, strict=True) if sample >= 0)

    def by_problem(self, texts: Sequence[str]) -> Iterator[tuple[int, dict[int, Outcome]]]:
        """Yields each problem's number and its outcomes by sample; of two for one sample, the later."""
        order = np.argsort(np.frombuffer(self.problem, np.int32), kind="stable") if self.problem else ()
        last, found = -1, dict[int, Outcome]()
        for row in order:
            number = self.problem[row]
            if number != last and found:
                yield last, found
                found = {}
            last, answer, reward = number, self.answer[row], self.reward[row]
            found[self.sample[row]] = Outcome(
                texts[answer] if answer >= 0 else None,
                bool(self.correct[row]),
                None if math.isnan(reward) else reward,
            )
        if found:
            yield last, found
