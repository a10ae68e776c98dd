"""Stage: the round's training problems and its benchmark."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from mathloop.problems import nano, one_step
from mathloop.problems.config import ProblemFile, ProblemsConfig
from mathloop.problems.files import ProblemTable
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
        problems_file: a file or folder, or s3://bucket/key; None for `config.files` or, if there are none,
            the built-in generator that `config.generator` names.
        dropped: becomes JSON lines of the file's broken rows, and of those without a final answer: their
            number and what is wrong.

    Raises:
        BadData: the file has more broken rows than `config.rejects_share`, or fewer rows than one training
            and one benchmark problem.
    """
    broken: list[tuple[int | None, str]] = []
    left_out: list[tuple[int, str]] = []
    notes: list[str] = []
    sources = config.sources("" if problems_file is None else str(problems_file))
    if not sources:
        train = list(_generated("train", config.train, seed, config))
        # The benchmark is the same in every round, so that rounds can be compared.
        held = list(_generated("benchmark", config.benchmark, 0, config))
    else:
        train, held, broken, left_out, layouts = _from_files(sources, seed)
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
        generated=0 if sources else kept,
        inputs=len(train) + len(held) + len(broken) + len(left_out) if sources else 0,
        kept=kept,
        dropped=drops.counts,
        notes=[*notes, *(error for _, error in broken[:5])],
        values={"benchmark problems": len(held), **families},
    )


def _generated(
    split: Literal["train", "benchmark"], count: int, seed: int, config: ProblemsConfig
) -> Iterator[Problem]:
    if config.generator == "one_step":
        return one_step.generate(split, count, seed)
    share = config.chinese_share
    return (made.problem for made in nano.generate(split, count, seed, chinese_share=share))


class _FromFile(NamedTuple):
    """What a round takes from a file, and what it does not."""

    train: list[Problem]
    held: list[Problem]
    broken: list[tuple[int | None, str]]
    """Each broken row's number and what is wrong."""
    left_out: list[tuple[int, str]]
    """Each row without a final answer, and why it has none."""
    layouts: Counter[str]
    """Layout → rows."""


def _from_files(sources: list[tuple[ProblemFile, ProblemsConfig]], seed: int) -> _FromFile:
    """The problems of all data sets: training problems by weight, held-out ones by their hash."""
    read = _FromFile([], [], [], [], Counter())
    with ExitStack() as stack:
        tables: list[tuple[ProblemTable, list[int], list[int]]] = []
        for file, config in sources:
            path = stack.enter_context(local_copy(file.path))
            table = ProblemTable(path, config)
            found = table.source
            read.broken.extend(
                (error.row, str(error).replace(str(path), path.name)) for error in found.broken
            )
            read.left_out.extend((skipped.row, skipped.reason) for skipped in found.left_out)
            read.layouts.update(found.layouts)
            tables.append((table, *_sides(table, seed)))
        _, config = sources[0]
        weights = [file.weight for file, _ in sources]
        counts = _shares(config.train, weights, [len(rest) for _, rest, _ in tables])
        # Of all that are held out the first by their order, whichever data set they are from.
        held = sorted(
            (int(table.orders[at]), number, at)
            for number, (table, _, kept_out) in enumerate(tables)
            for at in kept_out[: config.benchmark]
        )[: config.benchmark]
        for number, (table, rest, _) in enumerate(tables):
            kept_out = [at for _, owner, at in held if owner == number]
            problems = table.problems([*rest[: counts[number]], *kept_out])
            if len(tables) > 1:
                name = f"{number + 1}"
                problems = [replace(problem, id=f"{name}:{problem.id}") for problem in problems]
            read.train.extend(problems[: counts[number]])
            read.held.extend(problems[counts[number] :])
    return read._replace(train=_once(read.train), held=_once(read.held)) if len(sources) > 1 else read


def _once(problems: list[Problem]) -> list[Problem]:
    """The problems without repeated statements."""
    return list({problem.problem: problem for problem in reversed(problems)}.values())[::-1]


def _sides(table: ProblemTable, seed: int) -> tuple[list[int], list[int]]:
    """The positions of a data set's training problems, in the order of the seed, and of those held out."""
    order = np.argsort(table.orders, kind="stable")
    order = order[~np.isin(order, list(table.broken))] if table.broken else order
    # A threshold and not a count: a longer file or another setting moves no problem to the other side.
    held = int(np.count_nonzero(table.orders[order] < HELD_OUT * 2.0**64))
    held = min(max(held, 1), len(order) - 1)
    rest = order[held:].tolist()
    random.Random(f"train-{seed}").shuffle(rest)
    return rest, order[:held].tolist()


def _shares(total: int, weights: list[float], sizes: list[int]) -> list[int]:
    """How many of `total` problems each data set gives; what a small one lacks, the others give by weight."""
    counts = [0] * len(sizes)
    while (missing := min(total, sum(sizes)) - sum(counts)) > 0:
        open_ones = [at for at, size in enumerate(sizes) if counts[at] < size]
        weight = sum(weights[at] for at in open_ones)
        for at in open_ones:
            more = max(1, int(missing * weights[at] / weight))
            more = min(more, sizes[at] - counts[at], min(total, sum(sizes)) - sum(counts))
            counts[at] += more
    return counts
