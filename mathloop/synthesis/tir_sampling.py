"""Samples of one TIR iteration on disk: shard by shard, so that a killed stage draws at most one again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from mathloop.files import write_file
from mathloop.records import Drops, Problem, Response, read_responses, write_responses
from mathloop.sampling.sampler import Sampler
from mathloop.stages import Progress
from mathloop.synthesis.config import TIRConfig
from mathloop.synthesis.response_sampling import sample_responses, that_fit

SHARD_RESPONSES = 4096
"""Responses of a shard, where a stage samples in several iterations."""
_NEXT_SEED = 7919
"""Between the seeds of two temperatures."""
_NEXT_SHARD = 15_485_863
"""Between the seeds of two shards."""


def fitting_problems(
    sampler: Sampler | None, problems: Sequence[Problem], drops: Drops, record: Path
) -> list[Problem]:
    """The problems whose prompts the model can read; the others go to `drops`.

    Args:
        sampler: None if `record`, in which an earlier attempt noted their ids, is there.
    """
    if sampler is not None:
        fitting = that_fit(sampler, problems, "tir", drops)
        write_file(record, json.dumps([problem.id for problem in fitting]).encode())
        return fitting
    ids = set(json.loads(record.read_bytes()))
    for problem in problems:
        if problem.id not in ids:
            drops.add("too long for the model's context", problem)
    return [problem for problem in problems if problem.id in ids]


class Draw:
    """The shards of one iteration: each temperature's, in the order of the problems."""

    def __init__(
        self,
        problems: Sequence[Problem],
        samples: int,
        folder: Path,
        config: TIRConfig,
        seed: int,
        first: int,
    ) -> None:
        """`samples`: responses per problem and temperature, numbered from `first` on."""
        self._problems, self._samples, self._temperatures = problems, samples, config.temperatures
        self._seed, self._first = seed, first
        size = max(1, SHARD_RESPONSES // samples) if config.iterations > 1 else max(1, len(problems))
        self._starts = range(0, len(problems), size)
        self._size = size
        self._folder = folder
        self.total = len(problems) * samples * len(config.temperatures)

    def done(self) -> bool:
        """Whether every shard is on the disk."""
        return all(path.is_file() for path, *_ in self._shards())

    def draw(self, sampler: Sampler, progress: Progress) -> None:
        """Draws the shards that are not on the disk."""
        for path, start, index in self._shards():
            part = self._problems[start : start + self._size]
            if path.is_file():
                progress.update(len(part) * self._samples)
                continue
            drawn = sample_responses(
                sampler,
                part,
                mode="tir",
                samples=self._samples,
                temperature=self._temperatures[index],
                seed=self._seed + _NEXT_SEED * (index + 1) + _NEXT_SHARD * (start // self._size),
                progress=progress,
                first=self._first + index * self._samples,
            )
            write_responses(path, (response for _, responses in drawn for response in responses))

    def responses(self) -> Iterator[tuple[Problem, list[Response]]]:
        """Each problem with its responses at all temperatures."""
        streams = [self._stream(index) for index in range(len(self._temperatures))]
        for problem in self._problems:
            yield problem, [response for each in streams for response in islice(each, self._samples)]

    def _stream(self, index: int) -> Iterator[Response]:
        """All responses at one temperature."""
        return chain.from_iterable(read_responses(path) for path, _, at in self._shards() if at == index)

    def _shards(self) -> Iterator[tuple[Path, int, int]]:
        """Path, first problem and index of the temperature of each shard."""
        for index in range(len(self._temperatures)):
            for start in self._starts:
                yield self._folder / f"{index}-{start}.parquet", start, index
