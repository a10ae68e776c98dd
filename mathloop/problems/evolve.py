"""Stage: evolves problems by MuggleMath's first operation, "change specific numbers" (Paper §3.1.1).

Evolved problems have no gold answer; in synthesis the majority answer takes its place. The operations for
which a model must write (fractions, combined concepts, conditions) are not there yet.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from mathloop.problems.config import EvolutionConfig
from mathloop.problems.nano_grammar import split_of_statement
from mathloop.problems.numbers import change_numbers
from mathloop.problems.one_step import is_reserved
from mathloop.records import Drops, Problem, open_drops, read_problems, write_problems
from mathloop.stages import StageReport, timed


@timed
def run(
    *, problems: Path, out: Path, config: EvolutionConfig, seed: int, dropped: Path | None = None
) -> StageReport:
    """Writes the given problems and then up to `config.count` evolved ones.

    Args:
        dropped: becomes JSON lines of the evolved problems that were not kept, each with the reason.
    """
    given = list(read_problems(problems))
    with open_drops(dropped) as drops:
        evolved = list(evolve(given, config.count, seed, drops))
    kept = write_problems(out, [*given, *evolved])
    notes = []
    if lacking := config.count - len(evolved):
        reasons = [f"{number:,} {reason}" for reason, number in drops.counts.most_common()]
        tried = len(evolved) + drops.counts.total()
        if tried < config.count:
            reasons.append(f"{config.count - tried:,} because no problem is left whose number can be changed")
        notes.append(f"{lacking:,} of {config.count:,} evolved problems are missing: {', '.join(reasons)}.")
    return StageReport(
        "evolution",
        inputs=len(given),
        generated=len(evolved) + drops.counts.total(),
        kept=kept,
        dropped=drops.counts,
        notes=notes,
        samples=[{"problem": p.problem, "operation": p.operation, "parent": p.parent} for p in evolved[:3]],
    )


def evolve(problems: list[Problem], count: int, seed: int, drops: Drops) -> Iterator[Problem]:
    """Yields at most `count` problems with other numbers of the same size, none of them seen before.

    Statements that would contradict themselves are dropped, each with its reason (see `numbers`).
    """
    rng = random.Random(f"evolve-{seed}")
    seen = {p.problem for p in problems}
    parents = list(problems)
    rng.shuffle(parents)
    pairs = ((parent, change_numbers(parent.problem, rng)) for parent in parents)
    changed = ((parent, change) for parent, change in pairs if change is not None)
    for index, (parent, change) in enumerate(islice(changed, count)):
        evolved = replace(
            parent,
            id=f"{parent.id}-numbers-{seed}-{index}",
            problem=change.text,
            answer=None,
            solution=None,
            parent=parent.id,
            operation="change_numbers",
        )
        if change.refused:
            drops.add(change.refused, evolved)
        elif change.text in seen:
            drops.add("duplicate of another problem", evolved)
        elif split_of_statement(parent.family, change.text) == "benchmark" or is_reserved(
            parent.family, change.text
        ):
            drops.add("reserved for the benchmark", evolved)
        else:
            seen.add(change.text)
            yield evolved
