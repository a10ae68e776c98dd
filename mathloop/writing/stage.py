"""The written problems of a round in one step: written, decontaminated, and put behind their parents."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

from mathloop.decontamination import stage as decontamination_stage
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.records import read_problems, write_problems
from mathloop.stages import StageReport
from mathloop.synthesis.decontamination import merge_dropped
from mathloop.synthesis.references import Named, references
from mathloop.writing import write
from mathloop.writing.config import WritingConfig


def run(
    *,
    problems: Path,
    policy: Path | None,
    benchmark: Path,
    out: Path,
    dropped: Path,
    work: Path,
    named: Named,
    config: WritingConfig,
    decontamination: DecontaminationConfig,
    seed: int,
) -> list[StageReport]:
    """Writes `problems` and then those that the model wrote to `out`, of which none matches a benchmark.

    Args:
        policy: the champion, which writes unless `config` names another writer.
        benchmark: the problems that the round measures on.
        named: the run's named benchmarks; there may be none.
        dropped: becomes JSON lines of what was dropped, with `stage` and `drop_reason`.
        work: folder for the cache and for files between the two stages.

    Raises the errors of `write.run` and of decontamination.
    """
    written, clean = work / "written.parquet", work / "clean.parquet"
    drops = [work / f"{name}.dropped.jsonl" for name in ("writing", "decontamination")]
    reports = [
        write.run(
            problems=problems,
            policy=policy,
            out=written,
            config=config,
            seed=seed,
            work=work,
            dropped=drops[0],
        )
    ]
    if reports[0].kept:
        reports.append(
            decontamination_stage.run(
                problems=written,
                responses=None,
                benchmarks=references(benchmark, named, work),
                out=clean,
                removed=drops[1],
                config=decontamination,
                name="decontamination_writing",
            )
        )
    write_problems(out, chain(read_problems(problems), read_problems(clean) if reports[1:] else ()))
    merge_dropped(dropped, zip(reports, drops, strict=False))
    return reports
