"""Cuts training data into shards and filters each, in any process; the results are kept in a work folder.

A shard's files are `N.removed`, its removed rows as JSON lines, `N.kept` if the source is JSON lines, and
`N.json`, its counts, written last: a shard that has it is done, and a killed run resumes after it.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, fields
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from mathloop.decontamination.batches import Passage
from mathloop.decontamination.index import CONTENTS, Index
from mathloop.decontamination.items import Items
from mathloop.decontamination.matching import Match, Rules, find_matches
from mathloop.decontamination.sources import COLUMNS, passages
from mathloop.errors import BadData
from mathloop.files import disk, open_plain, reading, write_file
from mathloop.lines import parse_line, shown
from mathloop.problems.sources.reader import many
from mathloop.records import Problem, Response, parquet, read_problems, response_of
from mathloop.records.rows import is_parquet, json_line

SHARD = 4 << 20
"""Bytes of JSON lines per shard, up to the end of a line."""
ROWS = 8192
"""Rows of JSON lines that are checked together: all of a shard, unless they are very short."""
_TABLE_ROWS = 4096
"""The same of a table, whose row groups may be longer than a shard."""
_COLUMNS = (*COLUMNS, "source", *(field.name for field in fields(Response)))
"""Columns that are read."""
_SAMPLES = 2
"""Strongest examples kept per benchmark and rule."""


@dataclass(frozen=True)
class Shard:
    """A part of the training data: bytes of JSON lines, or row groups of Parquet."""

    number: int
    start: int
    end: int
    first_row: int
    """Number of its first row, from 1."""


@dataclass(frozen=True)
class Job:
    """The arguments that all shards of a run share."""

    source: Path
    work: Path
    index: Path
    rules: tuple[tuple[str, ...], float, float, float]
    """Names, LCS ratio, structure ratio, likeness."""
    problems: Path | None = None
    """Problems that the rows answer, if the rows are responses; None if they are problems."""


@dataclass
class Tally:
    """Counts of a shard, or of a whole run."""

    taken: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Benchmark and rule → rows."""
    matrix: Counter[str] = field(default_factory=Counter)
    """Source and benchmark → rows."""
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Benchmark and rule → its strongest examples, the strongest first."""
    removed_rows: list[int] = field(default_factory=list)
    """Row numbers of a shard's removed rows."""

    def remove(self, row: dict[str, Any]) -> None:
        """Counts a removed row, as `_removed_row` describes it."""
        reason = f"{row['benchmark']}: {row['rule']}"
        self.dropped[reason] += 1
        self.matrix[f"{row['source']} × {row['benchmark']}"] += 1
        self._show(reason, [row])

    def add(self, shard: Tally) -> None:
        """Counts a shard; shards are added in order."""
        self.taken += shard.taken
        self.dropped.update(shard.dropped)
        self.matrix.update(shard.matrix)
        for reason, samples in shard.samples.items():
            self._show(reason, samples)

    def _show(self, reason: str, more: list[dict[str, Any]]) -> None:
        before = self.samples.setdefault(reason, [])
        self.samples[reason] = sorted([*before, *more], key=lambda row: -row["score"])[:_SAMPLES]


def count_shards(source: Path) -> int:
    """How many shards the training data has; an upper bound where lines are longer than a shard."""
    if is_parquet(source):
        with parquet.opened(source) as file:
            return int(file.num_row_groups)
    with reading(source):
        return -(-os.stat(source).st_size // SHARD)


def plan_shards(source: Path) -> Iterator[Shard]:
    """Where each shard of the training data begins and ends. Reads JSON lines once."""
    return _plan_parquet(source) if is_parquet(source) else _plan_lines(source)


def filter_shard(job: Job, shard: Shard) -> Tally:
    """Filters a shard, or reads an earlier run's result. Raises BadData for a row that cannot be read."""
    done = job.work / f"{shard.number}.json"
    if done.exists():
        return read_tally(job, shard)
    rules, items = _rules(job.index, job.rules, _stamp(job.index / CONTENTS))
    tally = Tally()
    by_lines = not is_parquet(job.source)
    with ExitStack() as stack, disk(job.work):
        removed = stack.enter_context(open(job.work / f"{shard.number}.removed", "wb"))
        kept = stack.enter_context(open(job.work / f"{shard.number}.kept", "wb")) if by_lines else None
        rows = _lines(job.source, shard) if by_lines else _table_rows(job.source, shard)
        while chunk := list(islice(rows, ROWS if by_lines else _TABLE_ROWS)):
            checked = _checked_rows(job, chunk)
            matches = find_matches([row.passages for row in checked], rules, items)
            tally.taken += len(chunk)
            for (number, _, line), row, match in zip(chunk, checked, matches, strict=True):
                if match is None:
                    if kept is not None:
                        kept.write(line)
                    continue
                removed_row = _removed_row(match, row)
                removed.write(json_line(job.source, number, removed_row))
                tally.remove(removed_row)
                tally.removed_rows.append(number)
        for file in filter(None, (removed, kept)):
            file.flush()
        write_file(done, json.dumps(vars(tally), ensure_ascii=False).encode("utf-8"))
    return tally


def read_tally(job: Job, shard: Shard) -> Tally:
    """The result of a shard that is done."""
    fields = json.loads((job.work / f"{shard.number}.json").read_text(encoding="utf-8"))
    fields["dropped"], fields["matrix"] = Counter(fields["dropped"]), Counter(fields["matrix"])
    return Tally(**fields)


class _CheckedRow(NamedTuple):
    """The parts of a row that are checked and reported."""

    passages: Sequence[Passage]
    name: str
    source: str


def _checked_rows(job: Job, chunk: list[tuple[int, dict[str, Any], bytes]]) -> list[_CheckedRow]:
    """Rows that are checked together; raises BadData that tells the broken ones among them at once."""
    checked: list[_CheckedRow] = []
    broken: list[BadData] = []
    for number, row, _ in chunk:
        try:
            checked.append(_checked_row(job, number, row))
        except BadData as error:
            broken.append(error.bare())
    if broken:
        raise many(broken)
    return checked


def _checked_row(job: Job, number: int, row: dict[str, Any]) -> _CheckedRow:
    if job.problems is None:
        texts = passages(row, job.source, number)
        name = number if row.get("id") is None else row["id"]
        return _CheckedRow(texts, str(name), source_of(row, job.source))
    response = response_of(job.source, number, row)
    problem = _problems(job.problems, _stamp(job.problems)).get(response.problem_id)
    if problem is None:
        missing = shown(response.problem_id)
        message = f"no problem {missing} in {job.problems}; pass the file of problems that it answers"
        raise BadData(message, path=job.source, row=number, field="problem_id")
    texts = [Passage(problem.problem, True, problem.answer), Passage(response.text, False)]
    name = f"{response.problem_id} {response.sample}"
    return _CheckedRow(texts, name, problem.source or job.problems.stem)


def _stamp(path: Path) -> tuple[int, int]:
    """Size and modification time: they change when a file is rewritten."""
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


@lru_cache(1)
def _problems(problems: Path, stamp: tuple[int, int]) -> dict[str, Problem]:
    return {problem.id: problem for problem in read_problems(problems)}


def _removed_row(match: Match, row: _CheckedRow) -> dict[str, Any]:
    """A removed row as written to `removed`: the row, the benchmark item and the evidence."""
    return {
        "id": row.name,
        "text": match.text,
        "benchmark": match.item.benchmark,
        "benchmark_item": match.item.text,
        "rule": match.rule,
        "evidence": match.evidence,
        "score": round(match.score, 4),
        "source": row.source,
    }


def source_of(row: dict[str, Any], path: Path) -> str:
    """Where a row comes from: its `source`, else its file."""
    named = row.get("source")
    return named if isinstance(named, str) and named else path.stem


@lru_cache(1)
def _rules(
    folder: Path, settings: tuple[Sequence[str], float, float, float], stamp: tuple[int, int]
) -> tuple[Rules, Items]:
    names, lcs_ratio, structure_ratio, likeness = settings
    index = Index.load(folder)
    rules = index.rules(names, lcs_ratio=lcs_ratio, structure_ratio=structure_ratio, likeness=likeness)
    return rules, index.items


def _plan_lines(source: Path) -> Iterator[Shard]:
    with reading(source), open_plain(source) as file:
        start = rows = number = 0
        while block := file.read(SHARD):
            # The rest of the last line belongs to this shard.
            block += file.readline()
            lines = block.count(b"\n") + (not block.endswith(b"\n"))
            yield Shard(number, start, start + len(block), rows + 1)
            start, rows, number = start + len(block), rows + lines, number + 1


def _plan_parquet(source: Path) -> Iterator[Shard]:
    with parquet.opened(source) as file:
        row = 1
        for group in range(file.num_row_groups):
            yield Shard(group, group, group + 1, row)
            row += file.metadata.row_group(group).num_rows


def _lines(source: Path, shard: Shard) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    with reading(source), open_plain(source) as file:
        file.seek(shard.start)
        number = shard.first_row
        while file.tell() < shard.end:
            line = file.readline()
            row = parse_line(source, number, line)
            if row is not None:
                yield number, row, line
            number += 1


def _table_rows(source: Path, shard: Shard) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    number = shard.first_row
    with parquet.opened(source) as file:
        try:
            for _, rows in parquet.read_batches(source, _Groups(file, shard), _COLUMNS):
                for row in rows:
                    yield number, row, b""
                    number += 1
        except BadData as error:
            if error.row is None:
                raise
            message = str(error).partition(": ")[2]
            place = error.row + shard.first_row - 1
            raise BadData(message, path=source, row=place, field=error.field) from None


class _Groups:
    """The row groups of a shard, with the interface of a whole file."""

    def __init__(self, file: Any, shard: Shard) -> None:
        self.schema_arrow, self._file = file.schema_arrow, file
        self._groups = list(range(shard.start, shard.end))

    def iter_batches(self, **options: Any) -> Any:
        return self._file.iter_batches(row_groups=self._groups, **options)
