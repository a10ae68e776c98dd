"""Stage: written problems with their solutions as dialogues to pretrain on, filtered and unfiltered.

Filtered are the responses that CoT and TIR kept: votes chose their answers and, where the champion has a
reward model, it weighed the votes and ranked the responses. Unfiltered is the first response to each problem.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from mathloop.records import Mode, Problem, read_problems, read_rows, write_rows
from mathloop.stages import StageReport, timed

STYLE = "written"
"""Style of these documents."""
SCHEMA = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "problem", "solution", "mode", "language", "style")),
        ("misread", pa.bool_()),
    ]
)


@timed
def run(
    *,
    problems: Path,
    responses: Mapping[Mode, Path],
    dropped: Mapping[Mode, Path],
    filtered: Path,
    unfiltered: Path,
) -> StageReport:
    """Writes both corpora, with the columns of `mathloop.corpus.write`.

    Args:
        responses: mode → the responses that its stage kept.
        dropped: mode → those that it dropped. Both are in the order of `problems`.
    """
    counts = dict.fromkeys(responses, 0)

    def kept() -> Iterator[dict[str, Any]]:
        for mode, path in responses.items():
            for row in _documents(problems, read_rows(path)):
                counts[mode] += 1
                yield row

    def first() -> Iterator[dict[str, Any]]:
        for mode in responses:
            for path in (responses[mode], dropped[mode]):
                yield from _documents(problems, (row for row in read_rows(path) if row.get("sample") == 0))

    written = write_rows(filtered, kept(), SCHEMA)
    rest = write_rows(unfiltered, first(), SCHEMA)
    values = {"unfiltered documents": float(rest)}
    values |= {f"filtered documents of {mode}": float(count) for mode, count in counts.items()}
    notes = [] if written else ["Votes and rewards kept no response: the filtered corpus is empty."]
    return StageReport("written_corpus", inputs=written + rest, kept=written, values=values, notes=notes)


def _documents(problems: Path, rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """A dialogue per response, with the statement that it answers; both are in the same order."""
    read = read_problems(problems)
    problem: Problem | None = None
    for row in rows:
        while problem is None or problem.id != row["problem_id"]:
            problem = next(read)
        yield {
            "id": f"{problem.id}-{row['mode']}-{row['sample']}",
            "problem": problem.problem,
            "solution": row["text"],
            "mode": row["mode"],
            "language": problem.language,
            "style": STYLE,
            "misread": False,
        }
