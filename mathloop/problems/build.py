"""Stage: the round's training problems and its benchmark."""

from __future__ import annotations

import hashlib
import random
import time
from pathlib import Path

import pyarrow as pa

from mathloop.errors import BadData
from mathloop.problems.config import ProblemsConfig
from mathloop.problems.files import load_problem_file
from mathloop.problems.nano import generate
from mathloop.records import Problem, write_problems, write_rows
from mathloop.stages import StageReport

HELD_OUT = 0.25
"""Share of a file's problems that no round of any seed trains on."""


def run(
    *,
    problems_file: Path | None,
    out: Path,
    benchmark: Path,
    rejects: Path,
    config: ProblemsConfig,
    seed: int,
) -> StageReport:
    """Writes Problems to `out` and `benchmark`, and the broken rows of a file to `rejects`.

    A quarter of a file, by a hash of each statement, is held out: whatever the seed, and if the file grows,
    later rounds are measured on problems that no round has trained on.

    Raises BadData when a file has more broken rows than `config.rejects_share`, or fewer rows than one
    training and one benchmark problem.
    """
    started = time.monotonic()
    broken: list[BadData] = []
    if problems_file is None:
        train = [n.problem for n in generate("train", config.train, seed, chinese_share=config.chinese_share)]
        # The benchmark is the same in every round: rounds are compared on it.
        held = [
            n.problem for n in generate("benchmark", config.benchmark, 0, chinese_share=config.chinese_share)
        ]
    else:
        train, held, broken = _from_file(problems_file, config, seed)
    write_rows(
        rejects,
        [{"row": error.row, "reason": str(error)} for error in broken],
        pa.schema([("row", pa.int64()), ("reason", pa.string())]),
    )
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
        taken=0 if problems_file is None else len(train) + len(held) + len(broken),
        kept=kept,
        dropped={"broken row": len(broken)},
        notes=[str(error) for error in broken[:5]],
        values={"benchmark problems": len(held), **families},
    )


def _from_file(
    path: Path, config: ProblemsConfig, seed: int
) -> tuple[list[Problem], list[Problem], list[BadData]]:
    problems, broken = load_problem_file(path, config.rejects_share)
    problems.sort(key=lambda problem: _digest(problem.problem))
    # A threshold, not the first so many: no later file or setting moves a problem to the other side.
    held = sum(_digest(problem.problem)[0] < 256 * HELD_OUT for problem in problems)
    held = min(max(held, 1), len(problems) - 1)
    rest = problems[held:]
    random.Random(f"train-{seed}").shuffle(rest)
    return rest[: config.train], problems[: min(held, config.benchmark)], broken


def _digest(statement: str) -> bytes:
    return hashlib.sha256(statement.encode()).digest()
