"""`mathloop benchmark writing`: how many of the nano problems that a policy writes are well-posed.

The policy writes by the profile's settings, as in `mathloop reproduce`. The nano world's own grammar and
solver, which choose nothing there, then judge every problem that was kept.
"""

from __future__ import annotations

import random
import re
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from mathloop.evaluation.benchmarks.named import NamedBenchmarks
from mathloop.problems.nano_grammar import Verdict, judge_statement
from mathloop.records import Problem, read_problems, read_rows
from mathloop.records.drops import DROP_REASON
from mathloop.reports.figures import percent
from mathloop.settings import Settings
from mathloop.synthesis import statements
from mathloop.writing import from_nothing
from pipelines.benchmarks.printing import aligned

SHOWN = 50
"""Judged problems that are printed."""
_CHANGING = re.compile(r"\d+|'.*?'|^\w+(?= is two people)")
"""What differs between two reasons of one kind."""


class Judged(NamedTuple):
    """A written problem with its verdict."""

    problem: Problem
    verdict: Verdict


def run(model: Path, settings: Settings, rows: int) -> None:
    """Has the policy write `rows` texts per template; prints what became of them, by operation.

    Raises the errors of `from_nothing.run`.
    """
    config = settings.writing.model_copy(update={"count": rows})
    with tempfile.TemporaryDirectory(prefix="mathloop-writing-") as temporary:
        folder = Path(temporary)
        held, out, dropped = (folder / name for name in ("statements", "problems", "dropped"))
        statements.run(
            problems_file=None,
            out=held,
            work=folder,
            config=settings.problems,
            named=NamedBenchmarks(settings.benchmarks),
            seed=settings.seed,
        )
        from_nothing.run(
            policy=model,
            statements=held,
            out=out,
            dropped=dropped,
            work=folder,
            config=config,
            decontamination=settings.decontamination,
            seed=settings.seed,
        )
        reasons, lost = Counter[str](), Counter[str]()
        for row in read_rows(dropped):
            reason = str(row[DROP_REASON])
            reasons[reason] += 1
            lost[reason] += judge_statement(str(row.get("problem") or row.get("text", ""))).well_posed
        judged = [Judged(one, judge_statement(one.problem)) for one in read_problems(out)]
    print(
        f"profile {settings.name}, seed {settings.seed}: {rows:,} texts by each of "
        f"{len(config.templates)} templates"
    )
    print("\n".join(table(judged)))
    cells = [(name, f"{number:,}", f"{lost[name]:,}") for name, number in reasons.most_common()]
    print("\n" + aligned(("dropped", "texts", "well-posed"), cells))
    print(f"\n{min(SHOWN, len(judged))} of the kept ones, drawn at random:")
    for one in random.Random(settings.seed).sample(judged, min(SHOWN, len(judged))):
        mark = "yes" if one.verdict.well_posed else "NO "
        print(f"{mark}  {one.problem.operation}: {one.problem.problem} ({one.verdict.reason})")


def table(judged: Iterable[Judged]) -> list[str]:
    """The share of well-posed problems by operation, and why the others are not."""
    judged = list(judged)
    operations = dict.fromkeys(str(one.problem.operation) for one in judged)
    parts = [(name, [one for one in judged if one.problem.operation == name]) for name in operations]
    cells = []
    for name, part in [*parts, ("all", judged)]:
        good = sum(one.verdict.well_posed for one in part)
        cells.append((name, f"{len(part):,}", f"{good:,}", percent(good / max(1, len(part)))))
    wrong = Counter(_CHANGING.sub("…", one.verdict.reason) for one in judged if not one.verdict.well_posed)
    lines = [aligned(("operation", "kept", "well-posed", "%"), cells)]
    if wrong:
        lines.append("not well-posed: " + "; ".join(f"{n:,} {reason}" for reason, n in wrong.most_common()))
    return lines
