"""The stage that takes out of training data whatever a benchmark item contaminates.

Each text is checked by itself: a problem by its statement and its solution, a response by its problem's
statement and its own text. One pass over the data; only the benchmarks' index and, for responses, the
problems' statements are held in memory.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from mathloop.decontamination.matching import Benchmarks
from mathloop.decontamination.sources import read_items
from mathloop.errors import BadData
from mathloop.records import write_problems, write_responses
from mathloop.records.rows import write_rows
from mathloop.stages import StageReport

_SAMPLES = 6


class Config(BaseModel):
    """How alike is too alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Literal["ngram_lcs", "exact"], ...] = Field(
        ("ngram_lcs", "exact"), min_length=1, description="Rules to apply; the first that matches is named."
    )
    ngram: int = Field(13, ge=2, description="Tokens of the n-gram that both texts must hold.")
    lcs_ratio: float = Field(
        0.6, gt=0, lt=1, description="The LCS must be longer than this share of the shorter text's tokens."
    )


def run(
    *,
    problems: Path,
    responses: Path | None,
    benchmarks: Sequence[Path],
    out: Path,
    removed: Path,
    config: Config,
) -> StageReport:
    """Writes to `out` what no benchmark item contaminates, in order, and the rest to `removed`.

    Args:
        problems: Problems; without `responses` any rows with a problem, question, Body and Question, or text.
        responses: Responses to these problems; where given, they are what is checked and kept.
        benchmarks: Files of questions, under the same field names.
        out: Kept rows with all their fields. From .jsonl to .jsonl every line stays byte for byte.
        removed: JSON lines with id, text, benchmark, benchmark_item, rule and evidence; may be empty.

    Raises:
        BadData: a row is broken, a benchmark is empty, or a response belongs to no problem.
        StorageRefused: the disk does not take a file.
    """
    started = time.monotonic()
    inputs = {path.resolve() for path in (problems, responses, *benchmarks) if path is not None}
    if out.resolve() == removed.resolve() or {out.resolve(), removed.resolve()} & inputs:
        raise BadData("out and removed must differ from each other and from every input", path=out)
    index = Benchmarks(
        read_items(benchmarks), rules=config.rules, ngram=config.ngram, lcs_ratio=config.lcs_ratio
    )
    report = StageReport("decontamination", values={"benchmark_items": float(len(index.items))})
    with _json_lines(removed) as file:
        sieve = _Sieve(index, report, file)
        if responses is not None:
            report.kept = write_responses(out, sieve.responses(problems, responses))
        elif problems.suffix == out.suffix == ".jsonl":
            with _whole(out) as lines:
                for line in sieve.lines(problems):
                    lines.write(line)
                    report.kept += 1
        elif _is_parquet(problems):
            schema = pq.read_schema(problems)
            report.kept = write_rows(out, (row for _, row in sieve.rows(problems)), schema)
        else:
            report.kept = write_problems(out, sieve.problems(problems))
        sieve.progress.finish()
    report.dropped = dict(sieve.dropped)
    report.seconds = time.monotonic() - started
    return report
