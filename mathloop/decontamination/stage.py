"""The stage that takes out of training data whatever a benchmark item contaminates.

Rows are sifted in shards, on all cores, with the benchmarks' index mapped into memory once for all; memory
does not grow with the data. What a shard gave stays in a hidden work folder beside `out` until all are done:
a run that was killed and is started again with the same arguments goes on, and writes the same bytes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import xxhash

from mathloop import __version__
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.decontamination.index import FORMAT, open_index
from mathloop.decontamination.shards import Job, Shard, Tally, count_shards, plan_shards, read_tally
from mathloop.decontamination.workers import sift_all
from mathloop.errors import BadData, MathloopError
from mathloop.files import check_plain, check_target, disk, make_parents, reading, remove_empty
from mathloop.records import read_responses, response_of, write_responses
from mathloop.records.filtering import filter_rows
from mathloop.records.rows import is_parquet, line_writer, numbered_rows
from mathloop.stages import Progress, StageReport, timed

_SAMPLES = 24
"""Examples in the report: the strongest of each benchmark and rule."""
_SMALL = 2
"""Shards that are done before a line about them is read."""


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
    """Writes to `out` what no benchmark item contaminates, in order, and the rest to `removed`.

    Args:
        problems: Problems; without `responses` rows with a problem, question, Body and Question, or text.
        responses: Responses to these problems; where given, they are what is checked and kept.
        benchmarks: Files of questions, under the same field names.
        out: Kept rows with all their fields. From .jsonl to .jsonl every line stays byte for byte.
        removed: JSON lines with id, text, benchmark, benchmark_item, rule, evidence, score (0 to 1) and
            source; may be empty.
        name: of the report: which data was checked.
        index: Folder in which the benchmarks' index is kept for other runs; without it, a temporary one.
        workers: Processes; as many as there are cores where None.

    Neither file appears before both are written.

    Raises:
        BadData: a row is broken, a benchmark is empty, a response belongs to no problem, or `index` is of
            other benchmarks.
        Corrupt: `index` is damaged.
        StorageRefused: the disk does not take a file.
        MathloopError: a worker was killed.
    """
    inputs = [path for path in (problems, responses, *benchmarks) if path is not None]
    _check_places(inputs, out, removed)
    made: list[Path] = []
    work = None
    try:
        with disk(out):
            made = make_parents(Path(os.path.realpath(out)))
            work = _work_folder(out, inputs, config)
            work.mkdir(exist_ok=True)
        index = index or work / "index"
        opened = open_index(benchmarks, ngram=config.ngram, folder=index)
        report = StageReport(
            name,
            values={"benchmark_items": float(opened.given), "benchmarks": float(len(opened.benchmarks))},
        )
        rules = (config.rules, config.lcs_ratio, config.structure_ratio, config.likeness)
        job = Job(problems, work, index, rules)
        if responses is not None:
            next(read_responses(responses), None)  # refuses a file without a row
            job = replace(job, source=responses, problems=problems)
        tally = _sift(job, out, removed, workers or len(os.sched_getaffinity(0)))
    except MathloopError as error:
        # A user's mistake leaves nothing behind; after a killed worker the next run goes on.
        if work is not None and type(error) is not MathloopError:
            shutil.rmtree(work, ignore_errors=True)
            remove_empty(made)
        raise
    shutil.rmtree(work, ignore_errors=True)
    report.taken, report.dropped = tally.taken, dict(tally.dropped)
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


def _work_folder(out: Path, inputs: Sequence[Path], config: DecontaminationConfig) -> Path:
    """The same for the same arguments, inputs unchanged."""
    key = xxhash.xxh3_64(f"{__version__} {FORMAT} {config.model_dump_json()} {os.path.realpath(out)}")
    for path in inputs:
        told = os.stat(path)
        key.update(f"\0{os.path.realpath(path)}\0{told.st_size}\0{told.st_mtime_ns}")
    return Path(os.path.realpath(out)).with_name(f".mathloop-{key.hexdigest()}.shards")


def _sift(job: Job, out: Path, removed: Path, workers: int) -> Tally:
    count = count_shards(job.source)
    progress = Progress("decontamination", count, "shards") if count > _SMALL else None
    tally, shards = Tally(), []
    for shard, own in sift_all(job, plan_shards(job.source), min(workers, count)):
        shards.append(shard)
        tally.add(own)
        if progress is not None:
            progress.update(rows=tally.taken, removed=sum(tally.dropped.values()))
    with ExitStack() as stack:
        # The removed rows are on the disk before `out` appears, so that they cannot be refused then.
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
    """Says of each row in turn whether it stays; holds one shard's verdicts at a time."""
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
    """The strongest example of each benchmark and rule first, then their second ones."""
    ranked = [
        sample for place in (0, 1) for told in tally.samples.values() for sample in told[place : place + 1]
    ]
    return ranked[:_SAMPLES]
