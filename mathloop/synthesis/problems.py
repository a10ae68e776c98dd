"""The round's problems in one step: built, evolved, and without those that match the benchmark.

Each of the three is a stage of its own with its own report; on a cluster a step of a pipeline costs 20 s
whatever it does, so that stages which only move records share one.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from mathloop.decontamination import stage as decontamination_stage
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.problems import build, evolve
from mathloop.problems.config import EvolutionConfig, ProblemsConfig
from mathloop.stages import StageReport
from mathloop.synthesis.decontamination import merge_dropped
from mathloop.synthesis.references import Named, add_measured, references


def run(
    *,
    problems_file: Path | None,
    out: Path,
    benchmark: Path,
    dropped: Path,
    work: Path,
    named: Named,
    config: ProblemsConfig,
    evolution: EvolutionConfig,
    decontamination: DecontaminationConfig,
    seed: int,
) -> list[StageReport]:
    """Writes the training Problems to `out` and those to measure on to `benchmark`.

    Those are the problems that the round holds out and, after them, the named benchmarks'. The training
    problems match neither these nor the benchmarks that are named only to be kept out.

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
    measured, notes = add_measured(benchmark, named)
    built_report.values |= measured
    built_report.notes += notes
    reports = [
        built_report,
        evolve.run(problems=built, out=evolved, config=evolution, seed=seed, dropped=drops[1]),
        decontamination_stage.run(
            problems=evolved,
            responses=None,
            benchmarks=references(benchmark, named, work),
            out=out,
            removed=drops[2],
            config=decontamination,
            name="decontamination_problems",
        ),
    ]
    merge_dropped(dropped, zip(reports, drops, strict=True))
    return reports
