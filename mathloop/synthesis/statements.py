"""Stage: the statements that training data must not contain, without their answers.

What is written for a corpus is decontaminated against these: no later step can read a gold answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from mathloop.problems import build
from mathloop.problems.config import ProblemsConfig
from mathloop.records import Problem, read_problems, write_problems
from mathloop.stages import StageReport, timed
from mathloop.synthesis.references import Named


@timed
def run(
    *, problems_file: Path | None, out: Path, work: Path, config: ProblemsConfig, named: Named, seed: int
) -> StageReport:
    """Writes the problems that are held out and those of the named benchmarks to `out`, without answers.

    Args:
        problems_file: where a round takes its benchmark from; None for the built-in generator.
        work: folder for the problems with their answers, which are deleted at the end.

    Raises:
        BadData: as `mathloop.problems.build.run`.
    """
    held, train = work / "held-out.parquet", work / "train.parquet"
    one = config.model_copy(update={"train": 1})  # nobody reads it
    build.run(problems_file=problems_file, out=train, benchmark=held, config=one, seed=seed)
    kept = write_problems(out, stripped(chain(read_problems(held), named.measured(), named.excluded())))
    held.unlink()
    train.unlink()
    return StageReport("statements", inputs=kept, kept=kept)


def stripped(problems: Iterator[Problem]) -> Iterator[Problem]:
    """The problems without answer, solution, family, level and parent."""
    for problem in problems:
        yield Problem(id=problem.id, problem=problem.problem, language=problem.language)
