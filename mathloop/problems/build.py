"""Stage: the round's training problems and its benchmark."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from mathloop.problems.config import ProblemsConfig
from mathloop.problems.files import load_problem_file
from mathloop.problems.nano import generate
from mathloop.records import Problem, open_drops, write_problems
from mathloop.stages import StageReport, timed
from mathloop.storage import local_copy

HELD_OUT = 0.25
"""Share of a file's problems that no round trains on, whatever its seed."""


@timed
def run(
    *,
    problems_file: Path | None,
    out: Path,
    benchmark: Path,
    config: ProblemsConfig,
    seed: int,
    dropped: Path | None = None,
) -> StageReport:
    """Writes Problems to `out` and `benchmark`.

    A quarter of a file, chosen by a hash of each statement, is held out: whatever the seed, and even if the
    file grows, later rounds are measured on problems that no round has trained on.

    Args:
        problems_file: a file, or s3://bucket/key; None for the built-in generator.
        dropped: becomes JSON lines of the file's broken rows: their number and what is wrong.

    Raises:
        BadData: the file has more broken rows than `config.rejects_share`, or fewer rows than one training
            and one benchmark problem.
    """
    broken: list[tuple[int | None, str]] = []
    if problems_file is None:
        train = [n.problem for n in generate("train", config.train, seed, chinese_share=config.chinese_share)]
        # The benchmark is the same in every round, so that rounds can be compared.
        held = [
            n.problem for n in generate("benchmark", config.benchmark, 0, chinese_share=config.chinese_share)
        ]
    else:
        train, held, broken = _from_file(problems_file, config, seed)
    with open_drops(dropped) as drops:
        for row, error in broken:
            drops.add("broken row", {"row": row, "error": error})
    kept = write_problems(out, train)
    write_problems(benchmark, held)
    families = {f"train problems of {name}": 0.0 for name in sorted({p.family for p in train if p.family})}
    for problem in train:
        if problem.family:
            families[f"train problems of {problem.family}"] += 1
    return StageReport(
        "problems",
        generated=kept if problems_file is None else 0,
        inputs=0 if problems_file is None else len(train) + len(held) + len(broken),
        kept=kept,
        dropped=drops.counts,
        notes=[error for _, error in broken[:5]],
        values={"benchmark problems": len(held), **families},
    )


def _from_file(
    location: Path, config: ProblemsConfig, seed: int
) -> tuple[list[Problem], list[Problem], list[tuple[int | None, str]]]:
    """Training problems, benchmark, and each broken row's number and what is wrong."""
    with local_copy(location) as path:
        problems, errors = load_problem_file(path, config.rejects_share)
        broken = [(error.row, str(error).replace(str(path), path.name)) for error in errors]
    problems.sort(key=lambda problem: _digest(problem.problem))
    # A threshold and not a count: a longer file or another setting moves no problem to the other side.
    held = sum(_digest(problem.problem)[0] < 256 * HELD_OUT for problem in problems)
    held = min(max(held, 1), len(problems) - 1)
    rest = problems[held:]
    random.Random(f"train-{seed}").shuffle(rest)
    return rest[: config.train], problems[: min(held, config.benchmark)], broken


def _digest(statement: str) -> bytes:
    return hashlib.sha256(statement.encode()).digest()
