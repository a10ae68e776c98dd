"""The benchmarks that a run's settings name: checked before it, then read by the stage of the problems."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from mathloop.errors import BadConfig
from mathloop.evaluation.benchmarks.benchmark import Benchmark
from mathloop.evaluation.benchmarks.data import data_digest, read_benchmark
from mathloop.evaluation.benchmarks.registry import find_benchmark
from mathloop.evaluation.config import BenchmarksConfig
from mathloop.evaluation.passes import MODES
from mathloop.records import HELD_OUT, Mode, Problem
from mathloop.sampling.config import PromptConfig


class Asking(NamedTuple):
    """How a benchmark's problems are put to a model, and in which modes."""

    prompt: PromptConfig
    modes: tuple[Mode, ...]


class NamedBenchmarks:
    """The benchmarks of `BenchmarksConfig`. Reading them again gives the same problems."""

    def __init__(self, config: BenchmarksConfig) -> None:
        """Raises BadConfig where a name is unknown or given twice."""
        self._limit = config.limit
        self._folders = [Path(folder).expanduser() for folder in config.folders]
        self._measured = [find_benchmark(name, self._folders) for name in config.measure]
        self._excluded = [find_benchmark(name, self._folders) for name in config.exclude]
        names = self.names
        twice = next((name for name in names if names.count(name) > 1 or name == HELD_OUT), None)
        if twice is not None:
            raise BadConfig(
                f"benchmarks: {twice} is "
                + ("the name of the problems that are held out" if twice == HELD_OUT else "named twice")
                + ": give each benchmark one name of its own"
            )

    @property
    def names(self) -> list[str]:
        """Names of all of them, the measured ones first."""
        return [benchmark.name for benchmark in (*self._measured, *self._excluded)]

    def check(self, weights: Mapping[str, float]) -> dict[str, str]:
        """Finds the data of each; returns name → SHA-256 of its files.

        Args:
            weights: the gate's, of which every name must be measured.

        Raises:
            BadConfig: the gate weighs something that is not measured.
            BadData: the data of one is not found, or not what its entry records.
        """
        measured = [HELD_OUT, *(benchmark.name for benchmark in self._measured)]
        unknown = sorted(set(weights) - set(measured))
        if unknown:
            raise BadConfig(
                f"gate.weights: {unknown[0]} is no benchmark of this run that is measured; measured: "
                f"{', '.join(measured)}"
            )
        every = (*self._measured, *self._excluded)
        return {benchmark.name: data_digest(benchmark, self._folders) for benchmark in every}

    def asking(self, settings: PromptConfig) -> dict[str | None, Asking]:
        """How each measured benchmark and the held-out problems are asked; None alone: all of them."""
        held_out = Asking(settings, MODES)
        asked: dict[str | None, Asking] = {HELD_OUT: held_out}
        for benchmark in self._measured:
            asked[benchmark.name] = Asking(benchmark.prompting(settings), benchmark.modes)
        return asked if any(one != held_out for one in asked.values()) else {None: held_out}

    def measured(self) -> Iterator[Problem]:
        """The problems to measure models on, and to keep out of training data: at most `limit` of each."""
        return self._problems(self._measured, self._limit)

    def excluded(self) -> Iterator[Problem]:
        """The problems to keep out of training data only, the rest of a limited benchmark among them."""
        yield from self._problems(self._excluded, 0)
        if self._limit:
            measured = {problem.id for problem in self.measured()}
            every = self._problems(self._measured, 0)
            yield from (problem for problem in every if problem.id not in measured)

    def every(self) -> Iterator[Problem]:
        """All problems of all of them."""
        return chain(self.measured(), self.excluded())

    def _problems(self, benchmarks: Iterable[Benchmark], limit: int) -> Iterator[Problem]:
        """The problems of benchmarks; of each at most `limit`, 0: all."""
        for benchmark in benchmarks:
            problems = read_benchmark(benchmark, self._folders)
            # By a hash of the statement: the same ones in every round, whatever their order.
            yield from heapq.nsmallest(limit, problems, key=_rank) if limit else problems


def _rank(problem: Problem) -> bytes:
    return hashlib.sha256(problem.problem.encode()).digest()
