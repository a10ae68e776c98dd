"""Samplers that read, in order, the shards which pods have drawn."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from mathloop.errors import BadConfig
from mathloop.records import Mode, Problem
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.rewarding import Scorer
from mathloop.sampling.sampler import Rollout, Sampler
from mathloop.sampling.sharing.shards import Counts, NumberedSampler, Shards, rollout


class Replay:
    """The source of samplers that read the shards which pods have drawn, in order."""

    def __init__(self, shards: Shards) -> None:
        self.shards, self.counts = shards, Counts(shards)
        ends = shards.ends()
        self.unfit = ends[0].unfit
        self.seconds = max(end.seconds for end in ends)
        """Of the pod that took longest."""
        self.rewards: deque[float | None] = deque()
        self.scores = False

    def sampler(self, folder: Path, config: SamplingConfig) -> Sampler:
        """Reads responses; the folder is not read."""
        self.counts.samplers += 1
        return _ReplaySampler(self, self.counts.samplers, config)

    def scorer(self, folder: Path, dtype: str) -> Scorer:
        """The rewards that pods have given, in the order of the responses."""
        self.scores = True
        return self._score

    def _score(self, dialogues: Sequence[tuple[str, Mode, str]]) -> list[float]:
        rewards = [self.rewards.popleft() for _ in dialogues]
        if None in rewards:
            raise BadConfig("pods had no reward model, and this step has one; start the run again")
        return [reward for reward in rewards if reward is not None]


class _ReplaySampler(NumberedSampler):
    def __init__(self, replay: Replay, number: int, config: SamplingConfig) -> None:
        super().__init__(number, config)
        self._replay = replay

    def fits(self, problem: Problem, mode: Mode) -> bool:
        return self.key(problem, mode) not in self._replay.unfit

    def stream(
        self,
        problems: Sequence[Problem],
        *,
        mode: Mode,
        samples: int,
        temperature: float,
        seed: int,
        first: int = 0,
    ) -> Iterator[list[Rollout]]:
        replay = self._replay
        for part, _ in replay.counts.cut(self.config, problems, mode, samples, [temperature, seed]):
            responses = replay.shards.read(part)
            if replay.scores:
                replay.rewards.extend(response.reward for response in responses)
            yield [rollout(replace(response, reward=None)) for response in responses]
