"""The responses of one model in one mode as arrays: 21 bytes each."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from mathloop.evaluation.sample_scores import Outcome


class Columns:
    """The responses of one model in one mode, a column per field."""

    def __init__(self) -> None:
        self.problem, self.sample, self.answer = array("i"), array("i"), array("i")
        self.correct, self.reward = array("b"), array("d")
        self.unanswered = array("i")
        """Problems that were asked and have no response."""

    @property
    def greedy(self) -> bool:
        """Whether there is any greedy response."""
        return -1 in self.sample

    @property
    def drawn(self) -> int:
        """Largest index of a sample, plus one."""
        return max(max(self.sample, default=-1) + 1, 0)

    def asked(self, *, greedy: bool) -> NDArray[np.int64]:
        """Numbers of the problems with a greedy response or with samples, those without any among these."""
        chosen = (
            number for number, sample in zip(self.problem, self.sample, strict=True) if (sample < 0) == greedy
        )
        return np.unique(np.fromiter(chain(chosen, () if greedy else self.unanswered), np.int64))

    def counts(self) -> Counter[int]:
        """A problem's number → its samples, 0 where there are none."""
        found = Counter(
            number for number, sample in zip(self.problem, self.sample, strict=True) if sample >= 0
        )
        found.update(dict.fromkeys(self.unanswered, 0))
        return found

    def twice(self) -> tuple[int, int] | None:
        """A problem's number and a sample of which there are two responses."""
        keys = np.array(self.problem, np.int64) << 32 | np.array(self.sample, np.int64) + 1
        keys.sort()
        again = np.flatnonzero(keys[1:] == keys[:-1])
        return (int(keys[again[0]] >> 32), int(keys[again[0]] & 0xFFFFFFFF) - 1) if len(again) else None

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
