"""Stage: evolves problems by MuggleMath's first operation, "change specific numbers" (Paper §3.1.1).

Evolved problems have no gold answer; in synthesis the majority answer takes its place. The operations for
which a model must write (fractions, combined concepts, conditions) are not there yet.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from mathloop.problems.config import EvolutionConfig
from mathloop.problems.nano import split_of_statement
from mathloop.records import Drops, Problem, open_drops, read_problems, write_problems
from mathloop.stages import StageReport, timed

_NUMBER = re.compile(r"(?<![\d.,])\d{1,6}(?![\d.,]*\d)")


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
    return StageReport(
        "evolution",
        inputs=len(given),
        generated=len(evolved) + drops.counts.total(),
        kept=kept,
        dropped=drops.counts,
        samples=[{"problem": p.problem, "operation": p.operation, "parent": p.parent} for p in evolved[:3]],
    )


def evolve(problems: list[Problem], count: int, seed: int, drops: Drops) -> Iterator[Problem]:
    """Yields at most `count` problems with other numbers of the same size, none of them seen before."""
    rng = random.Random(f"evolve-{seed}")
    seen = {p.problem for p in problems}
    parents = [p for p in problems if _NUMBER.search(p.problem)]
    rng.shuffle(parents)
    for index, parent in enumerate(parents[:count]):
        text = _NUMBER.sub(lambda match: str(_other(int(match.group()), rng)), parent.problem)
        evolved = replace(
            parent,
            id=f"{parent.id}-numbers-{seed}-{index}",
            problem=text,
            answer=None,
            solution=None,
            parent=parent.id,
            operation="change_numbers",
        )
        if text in seen:
            drops.add("duplicate of another problem", evolved)
        elif split_of_statement(parent.family, text) == "benchmark":
            drops.add("reserved for the benchmark", evolved)
        else:
            seen.add(text)
            yield evolved


def _other(number: int, rng: random.Random) -> int:
    """Another number with as many digits; 0 and 1 stay, since they are often not quantities."""
    if number < 2:
        return number
    low = 10 ** (len(str(number)) - 1)
    drawn = rng.randint(max(2, low), 10 * low - 2)
    return drawn + (drawn >= number)
