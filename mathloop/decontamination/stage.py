"""Stage: removes the rows of training data that a benchmark item contaminates.

Rows are filtered in shards, on all cores, which share one memory map of the benchmarks' index; memory does
not grow with the data. Results of shards stay in a hidden work folder next to `out` until all are done: a
killed run that is started again with the same arguments resumes, and writes the same bytes.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from mathloop.decontamination.config import DecontaminationConfig
from mathloop.decontamination.index import FORMAT, open_index
from mathloop.decontamination.native import loaded
from mathloop.decontamination.shards import Job, Shard, Tally, count_shards, plan_shards, read_tally
from mathloop.decontamination.training_rows import (
    at_its_place,
    is_cut_as_it_is,
    training_files,
    write_lines,
)
from mathloop.decontamination.workers import filter_shards
from mathloop.errors import BadData
from mathloop.files import check_plain, check_target, reading
from mathloop.records import read_responses, response_of, write_responses
from mathloop.records.filtering import filter_rows
from mathloop.records.rows import is_parquet, line_writer, numbered_rows
from mathloop.stages import Progress, StageReport, timed
from mathloop.work_folders import working

_SAMPLES = 24
"""Examples in the report: the strongest per benchmark and rule."""
_SMALL = 2
"""With at most this many shards, no progress is shown."""


@timed
def run(
    *,
    problems: Path,
    responses: Path | None,
    benchmarks: Sequence[Path],
    out: Path,
    removed: Path,
    config: DecontaminationConfig,
    name: str = "decontamination",
    index: Path | None = None,
    workers: int | None = None,
) -> StageReport:
    """Writes the rows that no benchmark item contaminates to `out`, in order, and the others to `removed`.

    Args:
        problems: Problems; without `responses`, rows with a problem, question, Body and Question, or text, in
            any format that problems are read from, or a folder of such files.
        responses: Responses to these problems; if present, they are filtered instead of the problems.
        benchmarks: Files of questions, with the same field names.
        out: Kept rows with all their fields. From .jsonl to .jsonl every line is copied byte for byte.
        removed: JSON lines with id, text, benchmark, benchmark_item, rule, evidence, score (0 to 1) and
            source; may be empty.
        name: Name of the report: which data was checked.
        index: Folder that stores the benchmarks' index for other runs; None for a temporary one.
        workers: Number of processes; None for one per core.

    Neither file appears before both are written.

    Raises:
        BadData: a row is broken, a benchmark is empty, a response belongs to no problem, or `index` is of
            other benchmarks.
        Corrupt: `index` is damaged.
        StorageRefused: the disk refuses a file.
        MathloopError: a worker was killed.
    """
    files = [problems] if responses is not None else training_files(problems)
    inputs = [path for path in (*files, responses, *benchmarks) if path is not None]
    if problems.is_dir() and Path(os.path.realpath(problems)) in Path(os.path.realpath(out)).parents:
        raise BadData("the output would be among the training data; choose a place outside", path=out)
    _check_places(inputs, out, removed)
    compiled, state = loaded()
    if compiled is None:
        print(f"filter: {state}: the same rows are removed, more slowly", file=sys.stderr, flush=True)
    rows = problems
    with working(name, out, inputs, f"{FORMAT} {config.model_dump_json()}") as work:
        try:
            index = index or work / "index"
            opened = open_index(benchmarks, ngram=config.ngram, folder=index)
            values = {"benchmark_items": float(opened.source_items)}
            report = StageReport(name, values=values | {"benchmarks": float(len(opened.benchmarks))})
            rules = (config.rules, config.lcs_ratio, config.structure_ratio, config.likeness)
            if responses is None and not is_cut_as_it_is(problems):
                rows = write_lines(problems, files, work)
            job = Job(rows, work, index, rules)
            if responses is not None:
                next(read_responses(responses), None)  # raises if the file has no rows
                job = replace(job, source=responses, problems=problems)
            tally = _filter(job, out, removed, workers or len(os.sched_getaffinity(0)))
        except BadData as error:
            if rows == problems:
                raise
            raise at_its_place(error, rows) from None
    report.inputs, report.dropped = tally.taken, dict(tally.dropped)
    report.kept = tally.taken - sum(tally.dropped.values())
    report.values |= {f"removed: {pair}": float(count) for pair, count in sorted(tally.matrix.items())}
    report.samples = _strongest(tally)
    return report


def _check_places(inputs: Sequence[Path], out: Path, removed: Path) -> None:
    for path in inputs:
        with reading(path):
            check_plain(path)
    for path in (out, removed):
        check_target(path)
    places = [Path(os.path.realpath(path)) for path in (out, removed)]
    nested = places[0] in places[1].parents or places[1] in places[0].parents
    if len(set(places)) < 2 or nested or {*places} & {Path(os.path.realpath(path)) for path in inputs}:
        raise BadData("out and removed must differ from each other and from every input", path=out)


def _filter(job: Job, out: Path, removed: Path, workers: int) -> Tally:
    count = count_shards(job.source)
    progress = Progress("decontamination", count, "shards") if count > _SMALL else None
    tally, shards = Tally(), []
    for shard, own in filter_shards(job, plan_shards(job.source), min(workers, count)):
        shards.append(shard)
        tally.add(own)
        if progress is not None:
            progress.update(rows=tally.taken, removed=sum(tally.dropped.values()))
    with ExitStack() as stack:
        # The removed rows are on disk before `out` appears, so that a full disk leaves no `out`.
        write = stack.enter_context(line_writer(removed, at_once=True))
        _copy((job.work / f"{shard.number}.removed" for shard in shards), write)
        if not is_parquet(job.source) and out.suffix == ".jsonl":
            _copy(
                (job.work / f"{shard.number}.kept" for shard in shards), stack.enter_context(line_writer(out))
            )
        elif job.problems is None or is_parquet(job.source) == (out.suffix != ".jsonl"):
            filter_rows(job.source, out, (), _keeper(job, shards))
        else:
            keep = _keeper(job, shards)
            rows = ((number, row) for number, row in numbered_rows(job.source) if keep(number, row))
            write_responses(out, (response_of(job.source, number, row) for number, row in rows))
    return tally


def _copy(parts: Iterator[Path], write: Callable[[bytes], None]) -> None:
    for part in parts:
        with open(part, "rb") as file:
            while block := file.read(1 << 20):
                write(block)


def _keeper(job: Job, shards: Sequence[Shard]) -> Callable[[int, dict[str, Any]], bool]:
    """A function to call with each row in order: whether it stays. Loads one shard at a time."""
    rest = iter(shards)
    gone: set[int] = set()
    end = 0

    def keep(number: int, row: dict[str, Any]) -> bool:
        nonlocal gone, end
        while number >= end:
            shard = next(rest)
            gone = set(read_tally(job, shard).removed_rows)
            following = shard.number + 1
            end = shards[following].first_row if following < len(shards) else number + (1 << 62)
        return number not in gone

    return keep


def _strongest(tally: Tally) -> list[dict[str, Any]]:
    """The strongest example per benchmark and rule, then the second strongest ones."""
    ranked = [
        row for place in (0, 1) for samples in tally.samples.values() for row in samples[place : place + 1]
    ]
    return ranked[:_SAMPLES]
