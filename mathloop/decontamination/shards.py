"""Cuts training data into shards and sifts each, in any process; what a shard gave is kept in a work folder.

A shard's files are `N.removed`, its removed rows as JSON lines, `N.kept` too where it was JSON lines, and
`N.json`, its counts, written last: a shard that has it is done, and a run that was killed goes on behind it.
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

from mathloop.decontamination.batches import Passage, Rule
from mathloop.decontamination.index import CONTENTS, Index
from mathloop.decontamination.items import Items
from mathloop.decontamination.matching import Match, find_matches
from mathloop.decontamination.sources import COLUMNS, passages
from mathloop.errors import BadData
from mathloop.files import disk, open_plain, reading, write_file
from mathloop.lines import parse_line, shown
from mathloop.records import Problem, Response, parquet, read_problems, response_of
from mathloop.records.rows import is_parquet, json_line

SHARD = 4 << 20
"""Bytes of JSON lines in a shard, a line more or less."""
ROWS = 4096
"""Rows that are looked at together."""
_COLUMNS = (*COLUMNS, "source", *(field.name for field in fields(Response)))
"""What of a row is looked at."""
_SAMPLES = 2
"""Strongest examples kept of each benchmark and rule."""


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
    """What all shards of a run share."""

    source: Path
    work: Path
    index: Path
    rules: tuple[tuple[str, ...], float, float, float]
    """Names, LCS ratio, structure ratio, likeness."""
    problems: Path | None = None
    """Problems that the rows are responses to; None where the rows are problems."""


@dataclass
class Tally:
    """What a shard, or a run, took and removed."""

    taken: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    """Benchmark and rule → rows."""
    matrix: Counter[str] = field(default_factory=Counter)
    """Source and benchmark → rows."""
    samples: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """Benchmark and rule → its strongest examples, the strongest first."""
    removed_rows: list[int] = field(default_factory=list)
    """Numbers of a shard's removed rows."""

    def remove(self, told: dict[str, Any]) -> None:
        """Counts a removed row."""
        reason = f"{told['benchmark']}: {told['rule']}"
        self.dropped[reason] += 1
        self.matrix[f"{told['source']} × {told['benchmark']}"] += 1
        self._show(reason, [told])

    def add(self, shard: Tally) -> None:
        """Counts a shard; shards are added in order."""
        self.taken += shard.taken
        self.dropped.update(shard.dropped)
        self.matrix.update(shard.matrix)
        for reason, samples in shard.samples.items():
            self._show(reason, samples)

    def _show(self, reason: str, more: list[dict[str, Any]]) -> None:
        known = self.samples.setdefault(reason, [])
        self.samples[reason] = sorted([*known, *more], key=lambda told: -told["score"])[:_SAMPLES]


def count_shards(source: Path) -> int:
    """How many shards the training data has; of lines longer than a shard fewer."""
    if is_parquet(source):
        with parquet.opened(source) as file:
            return int(file.num_row_groups)
    with reading(source):
        return -(-os.stat(source).st_size // SHARD)


def plan_shards(source: Path) -> Iterator[Shard]:
    """Where each shard of the training data begins and ends. Reads JSON lines through once."""
    return _plan_parquet(source) if is_parquet(source) else _plan_lines(source)


def sift(job: Job, shard: Shard) -> Tally:
    """Sifts a shard, or reads what it gave an earlier run. Raises BadData for a row that cannot be read."""
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
        while chunk := list(islice(rows, ROWS)):
            examined = [_examined(job, number, row) for number, row, _ in chunk]
            matches = find_matches([row.passages for row in examined], rules, items)
            tally.taken += len(chunk)
            for (number, _, line), row, match in zip(chunk, examined, matches, strict=True):
                if match is None:
                    if kept is not None:
                        kept.write(line)
                    continue
                told = _told(match, row)
                removed.write(json_line(job.source, number, told))
                tally.remove(told)
                tally.removed_rows.append(number)
        for file in filter(None, (removed, kept)):
            file.flush()
        write_file(done, json.dumps(vars(tally), ensure_ascii=False).encode("utf-8"))
    return tally


def read_tally(job: Job, shard: Shard) -> Tally:
    """What a shard that is done gave."""
    told = json.loads((job.work / f"{shard.number}.json").read_text(encoding="utf-8"))
    told["dropped"], told["matrix"] = Counter(told["dropped"]), Counter(told["matrix"])
    return Tally(**told)


class _Examined(NamedTuple):
    """A row under examination."""

    passages: Sequence[Passage]
    name: str
    source: str


def _examined(job: Job, number: int, row: dict[str, Any]) -> _Examined:
    if job.problems is None:
        texts = passages(row, job.source, number)
        name = number if row.get("id") is None else row["id"]
        return _Examined(texts, str(name), source_of(row, job.source))
    response = response_of(job.source, number, row)
    asked = _stated(job.problems, _stamp(job.problems)).get(response.problem_id)
    if asked is None:
        message = f"no problem {shown(response.problem_id)} in {job.problems}; give the problems it answers"
        raise BadData(message, path=job.source, row=number, field="problem_id")
    texts = [Passage(asked.problem, True, asked.answer), Passage(response.text, False)]
    name = f"{response.problem_id} {response.sample}"
    return _Examined(texts, name, asked.source or job.problems.stem)


def _stamp(path: Path) -> tuple[int, int]:
    """What a file that is written again seldom keeps."""
    told = os.stat(path)
    return told.st_size, told.st_mtime_ns


@lru_cache(1)
def _stated(problems: Path, stamp: tuple[int, int]) -> dict[str, Problem]:
    return {problem.id: problem for problem in read_problems(problems)}


def _told(match: Match, row: _Examined) -> dict[str, Any]:
    """A removed row as it is written: what it is, what it touches, and why."""
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
    folder: Path, chosen: tuple[Sequence[str], float, float, float], stamp: tuple[int, int]
) -> tuple[list[Rule], Items]:
    names, lcs_ratio, structure_ratio, likeness = chosen
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
    """The row groups of a shard, read like a whole file."""

    def __init__(self, file: Any, shard: Shard) -> None:
        self.schema_arrow, self._file = file.schema_arrow, file
        self._groups = list(range(shard.start, shard.end))

    def iter_batches(self, **options: Any) -> Any:
        return self._file.iter_batches(row_groups=self._groups, **options)
