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

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from mathloop.decontamination.matching import Benchmarks
from mathloop.decontamination.sources import read_items, solution, statement
from mathloop.errors import BadData
from mathloop.records import read_problems, read_responses, read_rows, write_responses, write_rows
from mathloop.stages import StageReport


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
    gone: list[dict[str, str]] = []

    def clean(name: str, text: str) -> bool:
        report.taken += 1
        match = index.find(text)
        if match is not None:
            reason = f"{match.item.benchmark}: {match.rule}"
            report.dropped[reason] = report.dropped.get(reason, 0) + 1
            told = {"benchmark": match.item.benchmark, "benchmark_item": match.item.text}
            gone.append({"id": name, "text": text, **told, "rule": match.rule, "evidence": match.evidence})
        return match is None

    if responses is not None:
        stated = {p.id: p.problem for p in read_problems(problems)}
        report.kept = write_responses(
            out,
            (
                r
                for r in read_responses(responses)
                if clean(f"{r.problem_id} {r.sample}", f"{stated.get(r.problem_id, '')}\n{r.text}")
            ),
        )
    else:
        report.kept = write_rows(
            out,
            (
                row
                for number, row in enumerate(read_rows(problems), start=1)
                if clean(
                    str(row.get("id", number)),
                    f"{statement(row, problems, number)}\n{solution(row, problems, number) or ''}",
                )
            ),
            pq.read_schema(problems) if problems.suffix != ".jsonl" else None,
        )
    write_rows(removed, gone, _REMOVED)
    report.samples = list(gone[:6])
    report.seconds = time.monotonic() - started
    return report


_REMOVED = pa.schema(
    [(name, pa.string()) for name in ("id", "text", "benchmark", "benchmark_item", "rule", "evidence")]
)
