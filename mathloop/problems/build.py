"""Stage: the round's training problems and its benchmark."""

from __future__ import annotations

import random
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mathloop.problems.config import ProblemsConfig
from mathloop.problems.files import ProblemTable
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
        problems_file: a file or folder, or s3://bucket/key; None for the built-in generator.
        dropped: becomes JSON lines of the file's broken rows, and of those without a final answer: their
            number and what is wrong.

    Raises:
        BadData: the file has more broken rows than `config.rejects_share`, or fewer rows than one training
            and one benchmark problem.
    """
    broken: list[tuple[int | None, str]] = []
    left_out: list[tuple[int, str]] = []
    notes: list[str] = []
    if problems_file is None:
        train = [n.problem for n in generate("train", config.train, seed, chinese_share=config.chinese_share)]
        # The benchmark is the same in every round, so that rounds can be compared.
        held = [
            n.problem for n in generate("benchmark", config.benchmark, 0, chinese_share=config.chinese_share)
        ]
    else:
        train, held, broken, left_out, layouts = _from_file(problems_file, config, seed)
        notes = [f"layout {layout}: {rows:,} rows" for layout, rows in layouts.items()]
    with open_drops(dropped) as drops:
        for row, error in broken:
            drops.add("broken row", {"row": row, "error": error})
        for row, reason in left_out:
            drops.add("no final answer", {"row": row, "error": reason})
    kept = write_problems(out, train)
    write_problems(benchmark, held)
    families = {f"train problems of {name}": 0.0 for name in sorted({p.family for p in train if p.family})}
    for problem in train:
        if problem.family:
            families[f"train problems of {problem.family}"] += 1
    return StageReport(
        "problems",
        generated=kept if problems_file is None else 0,
        inputs=0 if problems_file is None else len(train) + len(held) + len(broken) + len(left_out),
        kept=kept,
        dropped=drops.counts,
        notes=[*notes, *(error for _, error in broken[:5])],
        values={"benchmark problems": len(held), **families},
    )


class _FromFile(NamedTuple):
    """What a round takes from a file, and what it does not."""

    train: list[Problem]
    held: list[Problem]
    broken: list[tuple[int | None, str]]
    """Each broken row's number and what is wrong."""
    left_out: list[tuple[int, str]]
    """Each row without a final answer, and why it has none."""
    layouts: dict[str, int]
    """Layout → rows."""


def _from_file(location: Path, config: ProblemsConfig, seed: int) -> _FromFile:
    with local_copy(location) as path:
        table = ProblemTable(path, config)
        source = table.source
        broken = [(error.row, str(error).replace(str(path), path.name)) for error in source.broken]
        left = [(skipped.row, skipped.reason) for skipped in source.left_out]
        order = np.argsort(table.orders, kind="stable")
        order = order[~np.isin(order, list(table.broken))] if table.broken else order
        # A threshold and not a count: a longer file or another setting moves no problem to the other side.
        held = int(np.count_nonzero(table.orders[order] < HELD_OUT * 2.0**64))
        held = min(max(held, 1), len(order) - 1)
        rest = order[held:].tolist()
        random.Random(f"train-{seed}").shuffle(rest)
        chosen, kept_out = rest[: config.train], order[: min(held, config.benchmark)].tolist()
        problems = table.problems([*chosen, *kept_out])
    return _FromFile(problems[: len(chosen)], problems[len(chosen) :], broken, left, dict(source.layouts))
