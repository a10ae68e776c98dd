"""The stage that takes out of training data whatever a benchmark item contaminates.

Each text is checked by itself: a problem by its statement and its solution, a response by its problem's
statement and its own text. One pass over the data; only the benchmarks' index and, for responses, the
problems' statements, and what was removed, are held in memory.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from mathloop.decontamination.matching import Benchmarks
from mathloop.decontamination.sources import read_items, solution, statement
from mathloop.errors import BadData, StorageRefused
from mathloop.records import Response, read_problems, read_responses, write_responses, write_rows
from mathloop.records.rows import PARQUET_MAGIC, numbered_rows
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
    gone: list[dict[str, str]] = []

    def clean(name: str, *passages: str) -> bool:
        report.taken += 1
        for text in passages:
            match = index.find(text)
            if match is not None:
                reason = f"{match.item.benchmark}: {match.rule}"
                report.dropped[reason] = report.dropped.get(reason, 0) + 1
                told = {"benchmark": match.item.benchmark, "benchmark_item": match.item.text}
                gone.append(
                    {"id": name, "text": text, **told, "rule": match.rule, "evidence": match.evidence}
                )
                return False
        return True

    def clean_row(number: int, row: dict[str, Any]) -> bool:
        worked = solution(row, problems, number)
        passages = [statement(row, problems, number), *([worked] if worked else [])]
        return clean(str(row.get("id", number)), *passages)

    if responses is not None:
        stated = {problem.id: problem.problem for problem in read_problems(problems)}

        def clean_responses() -> Iterator[Response]:
            for number, response in enumerate(read_responses(responses), start=1):
                if response.problem_id not in stated:
                    message = (
                        f"no problem {response.problem_id!r} in {problems}; give the problems it answers"
                    )
                    raise BadData(message, path=responses, row=number, field="problem_id")
                if clean(
                    f"{response.problem_id} {response.sample}", stated[response.problem_id], response.text
                ):
                    yield response

        report.kept = write_responses(out, clean_responses())
    elif problems.suffix == out.suffix == ".jsonl":
        report.kept = _write_lines(out, _kept_lines(problems, clean_row))
    else:
        rows = numbered_rows(problems)
        kept = (row for number, row in rows if clean_row(number, row))
        report.kept = write_rows(out, kept, pq.read_schema(problems) if _is_parquet(problems) else None)
    _write_lines(removed, (json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in gone))
    report.samples = [{name: row[name] for name in row if name != "id"} for row in gone[:_SAMPLES]]
    report.seconds = time.monotonic() - started
    return report


def _kept_lines(path: Path, clean: Callable[[int, dict[str, Any]], bool]) -> Iterator[bytes]:
    """The raw lines of the rows that `clean` keeps; blank lines, which are no rows, go."""
    rows = numbered_rows(path)
    with path.open("rb") as file:
        raw = enumerate(file, start=1)
        for number, row in rows:
            line = next(line for at, line in raw if at == number)
            if clean(number, row):
                yield line


def _write_lines(path: Path, lines: Iterable[bytes]) -> int:
    """Writes lines whole or not at all, whatever the path's suffix; returns how many."""
    partial = path.with_name(path.name + ".partial")
    count = 0
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            for line in lines:
                file.write(line)
                count += 1
        os.replace(partial, path)
    except OSError as error:
        raise StorageRefused(f"{path}: cannot write here ({error.strerror}); choose another place") from None
    finally:
        if partial.is_file():
            partial.unlink()
    return count


def _is_parquet(path: Path) -> bool:
    """Whether a pipeline's file, which may have no suffix, is Parquet."""
    with path.open("rb") as file:
        return file.read(len(PARQUET_MAGIC)) == PARQUET_MAGIC
