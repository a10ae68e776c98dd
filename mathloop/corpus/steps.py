"""Runs one step of a corpus over any number of documents: in shards, resumable, in constant memory.

A shard's results stay in a hidden work folder beside `out` until all are done: `N.jsonl`, its kept rows,
`N.dropped`, and `N.json`, its counts, written last. A killed step that is started again with the same
arguments reads on after the last finished shard and writes the same bytes.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

from mathloop.files import check_target, disk, write_file
from mathloop.records import Document, read_documents, write_documents
from mathloop.records.drops import DROP_REASON
from mathloop.records.rows import check_suffix, json_line, line_writer
from mathloop.stages import Progress, StageReport
from mathloop.work_folders import working

Outcome: TypeAlias = tuple[str, Document]
"""Why a document was dropped, or an empty text and the document that is kept."""
Apply: TypeAlias = Callable[[Sequence[Any]], Iterable[Outcome]]
"""A step: from a shard of records to outcomes, in order; one record may become several documents."""

SHARD = 1000
"""Records per shard: a killed step repeats at most one."""
_SAMPLES = 6


@dataclass
class Tally:
    """Counts of a shard or a whole step."""

    inputs: int = 0
    kept: int = 0
    characters: int = 0
    """Of the kept documents."""
    dropped: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, Any]] = field(default_factory=list)

    def add(self, other: Tally) -> None:
        """Adds a later shard."""
        self.inputs, self.kept = self.inputs + other.inputs, self.kept + other.kept
        self.characters += other.characters
        self.dropped.update(other.dropped)
        self.samples = [*self.samples, *other.samples][:_SAMPLES]


def run_step(
    name: str,
    apply: Apply,
    records: Callable[[], Iterable[Any]],
    *,
    inputs: Sequence[Path],
    out: Path,
    dropped: Path | None,
    settings: str,
) -> StageReport:
    """Applies a step to all records, in order, and writes kept documents to `out` (Parquet or JSON lines).

    Args:
        records: starts reading the records from the first one.
        inputs: files whose change makes earlier results invalid, as a change of `settings` does.
        dropped: JSON lines of the dropped documents with their reasons; None for nowhere.

    Raises:
        UserError: of `records` or `apply`; nothing is left then.
    """
    check_suffix(out)
    for path in filter(None, (out, dropped)):
        check_target(path)
    with working(name, out, inputs, settings) as work:
        tally, shards = _shards(name, apply, records(), work)
        _join(work, shards, out, dropped)
    values = {"characters": float(tally.characters)}
    return StageReport(
        name,
        inputs=tally.inputs,
        kept=tally.kept,
        dropped=dict(tally.dropped),
        values=values,
        samples=tally.samples,
    )


def _shards(name: str, apply: Apply, records: Iterable[Any], work: Path) -> tuple[Tally, int]:
    progress = Progress(name, None, "documents")
    tally, number = Tally(), 0
    iterator = iter(records)
    while batch := list(islice(iterator, SHARD)):
        own = _done(work, number) or _apply(apply, batch, work, number)
        tally.add(own)
        progress.update(own.inputs, kept=tally.kept)
        number += 1
    return tally, number


def _done(work: Path, number: int) -> Tally | None:
    path = work / f"{number}.json"
    if not path.exists():
        return None
    row = json.loads(path.read_text(encoding="utf-8"))
    return Tally(**{**row, "dropped": Counter(row["dropped"])})


def _apply(apply: Apply, batch: Sequence[Any], work: Path, number: int) -> Tally:
    tally = Tally(inputs=len(batch))
    with ExitStack() as stack, disk(work):
        kept = stack.enter_context(open(work / f"{number}.jsonl", "wb"))
        dropped = stack.enter_context(open(work / f"{number}.dropped", "wb"))
        for reason, document in apply(batch):
            row = asdict(document)
            if reason:
                tally.dropped[reason] += 1
                dropped.write(json_line(work, number, {DROP_REASON: reason, **row}))
                if not any(sample["why"] == reason for sample in tally.samples):
                    tally.samples.append({"why": reason, "text": document.text[:300], "url": document.url})
                continue
            tally.kept += 1
            tally.characters += len(document.text)
            kept.write(json_line(work, number, row))
    write_file(work / f"{number}.json", json.dumps(vars(tally), ensure_ascii=False).encode())
    return tally


def _join(work: Path, shards: int, out: Path, dropped: Path | None) -> None:
    if dropped is not None:
        with line_writer(dropped) as write:
            _copy((work / f"{number}.dropped" for number in range(shards)), write)
    if out.suffix == ".jsonl":
        with line_writer(out) as write:
            _copy((work / f"{number}.jsonl" for number in range(shards)), write)
    else:
        write_documents(out, documents(work / f"{number}.jsonl" for number in range(shards)))


def _copy(parts: Iterable[Path], write: Callable[[bytes], None]) -> None:
    for part in parts:
        with open(part, "rb") as file:
            while block := file.read(1 << 20):
                write(block)


def documents(paths: Iterable[Path]) -> Iterator[Document]:
    """The documents of several files, one after another."""
    for path in paths:
        if os.path.getsize(path):
            yield from read_documents(path)
