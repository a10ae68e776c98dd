"""The round's problems in one step: built, evolved, and without those that match the benchmark.

Each of the three is a stage of its own with its own report; on a cluster a step of a pipeline costs 20 s
whatever it does, so that stages which only move records share one.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Protocol

from mathloop.decontamination import stage as decontamination_stage
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.problems import build, evolve
from mathloop.problems.config import EvolutionConfig, ProblemsConfig
from mathloop.records import HELD_OUT, Problem, open_drops, read_problems, write_problems
from mathloop.stages import StageReport
from mathloop.synthesis.decontamination import add_dropped


class Named(Protocol):
    """The named benchmarks of a run."""

    names: list[str]

    def measured(self) -> Iterator[Problem]: ...

    def excluded(self) -> Iterator[Problem]: ...


def run(
    *,
    problems_file: Path | None,
    out: Path,
    benchmark: Path,
    references: Path,
    dropped: Path,
    work: Path,
    named: Named,
    config: ProblemsConfig,
    evolution: EvolutionConfig,
    decontamination: DecontaminationConfig,
    seed: int,
) -> list[StageReport]:
    """Writes the training Problems to `out` and those to measure on to `benchmark`.

    Those are the problems that the round holds out and, after them, the named benchmarks'. `references` gets
    these and the ones that are only kept out of training data: all that training data is decontaminated
    against.

    Args:
        problems_file: None for the built-in generator.
        named: the run's named benchmarks; there may be none.
        dropped: becomes JSON lines of all records that the three stages dropped, each with its `stage`
            and `drop_reason`.
        work: folder for files between the stages.

    Raises:
        BadData: as the three stages.
    """
    built, evolved = work / "built.parquet", work / "evolved.parquet"
    drops = [work / f"{name}.dropped.jsonl" for name in ("problems", "evolution", "decontamination")]
    for left in out.parent.glob(".mathloop-*.shards"):  # of an attempt that was killed
        shutil.rmtree(left)
    built_report = build.run(
        problems_file=problems_file,
        out=built,
        benchmark=benchmark,
        config=config,
        seed=seed,
        dropped=drops[0],
    )
    _add_named(named, benchmark, references, built_report)
    reports = [
        built_report,
        evolve.run(problems=built, out=evolved, config=evolution, seed=seed, dropped=drops[1]),
        decontamination_stage.run(
            problems=evolved,
            responses=None,
            benchmarks=[references],
            out=out,
            removed=drops[2],
            config=decontamination,
            name="decontamination_problems",
        ),
    ]
    with open_drops(dropped) as merged:
        for report, path in zip(reports, drops, strict=True):
            add_dropped(merged, report.stage, path)
    return reports


def _add_named(named: Named, benchmark: Path, references: Path, report: StageReport) -> None:
    """Adds the named benchmarks to the problems that are held out, and counts them in the report."""
    if not named.names:
        shutil.copyfile(benchmark, references)
        return
    # The sources of a problems file are no benchmarks: what is held out of it is one, whatever it is made of.
    held = [replace(problem, source=HELD_OUT) for problem in read_problems(benchmark)]
    counts = Counter[str]()

    def counted(problems: Iterator[Problem]) -> Iterator[Problem]:
        for problem in problems:
            counts[problem.source] += 1
            yield problem

    write_problems(benchmark, chain(held, counted(named.measured())))
    counts.clear()
    write_problems(references, chain(held, counted(named.measured()), counted(named.excluded())))
    report.values |= {f"problems of {name}": float(counts[name]) for name in named.names}
