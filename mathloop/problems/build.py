"""Stage: the round's training problems and its benchmark."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pyarrow as pa

from mathloop.errors import BadData
from mathloop.problems.config import ProblemsConfig
from mathloop.problems.files import read_problem_file
from mathloop.problems.nano import generate
from mathloop.records import Problem, write_problems, write_rows
from mathloop.stages import StageReport


def run(
    *,
    problems_file: Path | None,
    out: Path,
    benchmark: Path,
    rejects: Path,
    config: ProblemsConfig,
    seed: int,
) -> StageReport:
    """Writes Problems to `out` and `benchmark`; from a file, the benchmark is held out of it by the seed.

    Raises BadData when a file has a broken row or fewer rows than one training and one benchmark problem.
    """
    started = time.monotonic()
    if problems_file is None:
        train = [n.problem for n in generate("train", config.train, seed, chinese_share=config.chinese_share)]
        # The benchmark is the same in every round: rounds are compared on it.
        held = [
            n.problem for n in generate("benchmark", config.benchmark, 0, chinese_share=config.chinese_share)
        ]
    else:
        train, held = _from_file(problems_file, config, seed)
    write_rows(rejects, [], pa.schema([("row", pa.int64()), ("reason", pa.string())]))
    kept = write_problems(out, train)
    write_problems(benchmark, held)
    families = {f"train problems of {name}": 0.0 for name in sorted({p.family for p in train if p.family})}
    for problem in train:
        if problem.family:
            families[f"train problems of {problem.family}"] += 1
    return StageReport(
        "problems",
        time.monotonic() - started,
        made=kept if problems_file is None else 0,
        taken=0 if problems_file is None else len(train) + len(held),
        kept=kept,
        values={"benchmark problems": len(held), **families},
    )


def _from_file(path: Path, config: ProblemsConfig, seed: int) -> tuple[list[Problem], list[Problem]]:
    problems = list(read_problem_file(path))
    if len(problems) < 2:
        raise BadData("expected at least two rows: one to train on and one to measure with", path=path)
    random.Random(f"holdout-{seed}").shuffle(problems)
    held = min(config.benchmark, max(1, len(problems) // 4))
    return problems[held : held + config.train], problems[:held]
