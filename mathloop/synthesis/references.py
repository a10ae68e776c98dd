"""What training data must not contain: the round's benchmark, the named ones, and those kept out only."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Protocol

from mathloop.problems.files import Repeats
from mathloop.records import HELD_OUT, Problem, read_problems, write_problems


class Named(Protocol):
    """The named benchmarks of a run."""

    def measured(self) -> Iterator[Problem]:
        """The problems to measure models on, and to keep out of training data."""
        ...

    def excluded(self) -> Iterator[Problem]:
        """The problems to keep out of training data only."""
        ...


def add_measured(benchmark: Path, named: Named) -> tuple[dict[str, float], list[str]]:
    """Adds the measured benchmarks to the problems that are held out; returns counts and notes for a report.

    Without any the file stays as it is.
    """
    counts, repeats = Counter[str](), defaultdict[str, Repeats](Repeats)

    def counted() -> Iterator[Problem]:
        for problem in named.measured():
            counts[problem.source] += 1
            repeats[problem.source].add(problem)
            yield problem

    problems = counted()
    first = next(problems, None)
    if first is None:
        return {}, []
    # The sources of a problems file are no benchmarks: what is held out of it is one, whatever it is made of.
    held = [replace(problem, source=HELD_OUT) for problem in read_problems(benchmark)]
    write_problems(benchmark, chain(held, [first], problems))
    notes = [f"{name}: {found}" for name, found in repeats.items() if found.count]
    return {f"problems of {name}": float(count) for name, count in counts.items()}, notes


def references(benchmark: Path, named: Named, work: Path) -> list[Path]:
    """The files to decontaminate against: the benchmark's, and in `work` one of what is kept out only."""
    excluded = work / "excluded.parquet"
    if excluded.is_file():  # of an attempt that was killed; its index is of this file
        return [benchmark, excluded]
    problems = named.excluded()
    first = next(problems, None)
    if first is None:
        return [benchmark]
    write_problems(excluded, chain([first], problems))
    return [benchmark, excluded]
