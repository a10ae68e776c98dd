"""The stage that takes out of training data whatever a benchmark item contaminates.

Each text is checked by itself: a problem by its statement and its solution, a response by its problem's
statement and its own text. One pass over the data; only the benchmarks' index and, for responses, the
problems' statements are held in memory.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mathloop.decontamination.matching import Benchmarks
from mathloop.decontamination.sources import COLUMNS, read_items, solution, statement
from mathloop.errors import BadData
from mathloop.files import check_plain, check_target, reading
from mathloop.lines import shown
from mathloop.records import Response, read_problems, read_responses, write_responses
from mathloop.records.filtering import filter_rows
from mathloop.records.rows import json_line, line_writer
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

    Neither file appears before both are written.

    Raises:
        BadData: a row is broken, a benchmark is empty, or a response belongs to no problem.
        StorageRefused: the disk does not take a file.
    """
    started = time.monotonic()
    inputs = [path for path in (problems, responses, *benchmarks) if path is not None]
    for path in inputs:
        with reading(path):
            check_plain(path)
    for path in (out, removed):
        check_target(path)
    places = {os.path.realpath(path) for path in (out, removed)}
    if len(places) < 2 or places & {os.path.realpath(path) for path in inputs}:
        raise BadData("out and removed must differ from each other and from every input", path=out)
    index = Benchmarks(
        read_items(benchmarks), rules=config.rules, ngram=config.ngram, lcs_ratio=config.lcs_ratio
    )
    report = StageReport("decontamination", values={"benchmark_items": float(len(index.items))})
    # Each removal is on the disk at once, so that it cannot be refused when `out` has already appeared.
    with line_writer(removed, at_once=True) as write:

        def clean(name: str, *passages: str) -> bool:
            report.taken += 1
            for text in passages:
                match = index.find(text)
                if match is not None:
                    item = match.item
                    reason = f"{item.benchmark}: {match.rule}"
                    report.dropped[reason] = report.dropped.get(reason, 0) + 1
                    told = {"text": text, "benchmark": item.benchmark, "benchmark_item": item.text}
                    told |= {"rule": match.rule, "evidence": match.evidence}
                    write(json_line(removed, sum(report.dropped.values()), {"id": name, **told}))
                    if len(report.samples) < _SAMPLES:
                        report.samples.append(told)
                    return False
            return True

        def clean_row(number: int, row: dict[str, Any]) -> bool:
            worked = solution(row, problems, number)
            passages = [statement(row, problems, number), *([worked] if worked else [])]
            return clean(str(row.get("id", number)), *passages)

        def clean_responses(answers: Path) -> Iterator[Response]:
            stated = {problem.id: problem.problem for problem in read_problems(problems)}
            for number, response in enumerate(read_responses(answers), start=1):
                asked = response.problem_id
                if asked not in stated:
                    message = f"no problem {shown(asked)} in {problems}; give the problems it answers"
                    raise BadData(message, path=answers, row=number, field="problem_id")
                if clean(f"{asked} {response.sample}", stated[asked], response.text):
                    yield response

        if responses is None:
            report.kept = filter_rows(problems, out, COLUMNS, clean_row)
        else:
            report.kept = write_responses(out, clean_responses(responses))
    report.seconds = time.monotonic() - started
    return report
