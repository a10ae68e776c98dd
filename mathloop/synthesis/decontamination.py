"""Decontamination of a round's responses: those of CoT and of TIR, in one step."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from mathloop.decontamination import stage
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.records import open_drops, read_rows
from mathloop.records.drops import DROP_REASON
from mathloop.stages import StageReport
from mathloop.synthesis.references import Named, references


def run(
    *,
    problems: Path,
    responses: Mapping[str, Path],
    out: Mapping[str, Path],
    dropped: Path,
    benchmark: Path,
    work: Path,
    named: Named,
    config: DecontaminationConfig,
) -> list[StageReport]:
    """Writes, for each mode, the responses that match no benchmark problem.

    Args:
        responses: Mode (cot, tir) → its Responses.
        out: Mode → where the kept ones are written.
        dropped: becomes JSON lines of all that were removed, with `stage` and `drop_reason`.
        work: folder for the index, which all modes share.
        named: the run's named benchmarks, of which those that are not measured are not in `benchmark`.

    Raises:
        BadData: as `mathloop.decontamination.stage.run`.
    """
    benchmarks = references(benchmark, named, work)
    removed = {mode: work / f"{mode}.removed.jsonl" for mode in responses}
    reports = [
        stage.run(
            problems=problems,
            responses=responses[mode],
            benchmarks=benchmarks,
            out=out[mode],
            removed=removed[mode],
            config=config,
            name=f"decontamination_{mode}",
            index=work / "index",
        )
        for mode in responses
    ]
    merge_dropped(dropped, zip(reports, removed.values(), strict=True))
    return reports


def merge_dropped(dropped: Path, stages: Iterable[tuple[StageReport, Path]]) -> None:
    """Joins the rows that stages wrote as dropped or removed in one file, with `stage` as a field."""
    with open_drops(dropped) as merged:
        for report, path in stages:
            for row in read_rows(path):
                reason = row.pop(DROP_REASON, None) or f"{row['benchmark']}: {row['rule']}"
                merged.add(reason, row, stage=report.stage)
