"""Rows that a run's stages kept and dropped, for the browser."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mathloop.records import read_problems
from mathloop.records.drops import DROP_REASON
from mathloop.records.rows import numbered_rows
from mathloop.reports.figures import title
from mathloop.reports.markup import clip
from mathloop.reports.spill import Spill
from mathloop.typesetting import split_blocks, typeset

KEPT: dict[str, Sequence[str]] = {
    "problems": ["problems"],
    "writing": [],  # its output has the problems that it started from too
    "cot": ["responses"],
    "tir": ["responses"],
    "decontamination": ["cot", "tir"],
    "reward-data": ["responses"],
    "selection": ["selected"],
    "grpo": ["rollouts"],
}
"""Step → its outputs with what it kept. What a step dropped is in its output `dropped`."""
MOST = 300
"""Rows per stage, and per reason of what it dropped."""
_VALUE = 8_000
"""Characters of a value."""
_LISTED = 300
"""Characters of a row in the list."""
_PROSE = ("problem", "text", "response", "solution", "benchmark_item")
"""Fields with prose."""


@dataclass
class StageRows:
    step: str
    counts: dict[str, int] = field(default_factory=dict)
    """Reason, or "" for what was kept → rows in the files."""
    rows: list[str] = field(default_factory=list)
    """The reason of each row in the spill."""

    def add(self, reason: str, row: Mapping[str, Any], spill: Spill) -> bool:
        """Counts a row, and takes it if the page has room for it."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        if self.counts[reason] > MOST:
            return False
        self.rows.append(reason)
        spill.add(
            f"stage {self.step}", {name: _plain(value) for name, value in row.items() if value is not None}
        )
        return True


def read_stage_rows(run: Path, spill: Spill) -> list[StageRows]:
    """What each step of a run kept and dropped, as a stream; the rows that are shown go into the spill.

    A row of responses names its problem by id alone: its statement goes there too.

    Raises:
        BadData: a file cannot be read.
        StorageRefused: the disk refuses.
    """
    found, wanted = [], set()
    for step, outputs in KEPT.items():
        stage = StageRows(step)
        paths = [(run / "stages" / step / name, False) for name in outputs]
        for path, dropped in [*paths, (run / "stages" / step / "dropped", True)]:
            if not path.is_file():
                continue
            for _, row in numbered_rows(path):
                reason = str(row.pop(DROP_REASON, "") or "no reason") if dropped else ""
                if stage.add(reason, row, spill) and "problem" not in row:
                    wanted.add(str(row.get("problem_id")))
        if stage.rows:
            found.append(stage)
    problems = run / "stages" / "problems" / "problems"
    if wanted and problems.is_file():
        for problem in read_problems(problems):
            if problem.id in wanted:
                spill.add(f"statement {problem.id}", problem.problem)
    return found


def stage_pieces(stage: StageRows, spill: Spill, add: Callable[[str, Any], int]) -> dict[str, Any]:
    """The stage for the index; each row goes into a piece by `add`, which returns the piece's number."""
    reasons = list(stage.counts)
    listed = []
    for number, row in enumerate(spill.read(f"stage {stage.step}")):
        statement = next(spill.read(f"statement {row.get('problem_id')}"), None)
        if statement is not None and "problem" not in row:
            row = {"problem": statement, **row}
        shown = str(row.get("problem") or row.get("text") or row.get("id") or "")
        piece = add(f"{stage.step}-{number}", _packed(row))
        listed.append([reasons.index(stage.rows[number]), clip(" ".join(shown.split()), _LISTED), piece])
    return {
        "step": stage.step,
        "title": title(stage.step.replace("-", "_")),
        "reasons": [[reason, count] for reason, count in stage.counts.items()],
        "rows": listed,
    }


def _packed(row: Mapping[str, Any]) -> list[list[Any]]:
    """[field, blocks] of prose, [field, text] of other values; empty ones are left out."""
    return [[name, _prose(value) if name in _PROSE else value] for name, value in row.items() if value != ""]


def _prose(text: str) -> list[list[Any]]:
    return [
        [block.kind, typeset(block.text) if block.kind == "prose" else [block.text]]
        for block in split_blocks(text)
    ]


def _plain(value: Any) -> str:
    if isinstance(value, str):
        return clip(value, _VALUE)
    if isinstance(value, float):
        return f"{value:.4g}"
    return clip(json.dumps(value, ensure_ascii=False, default=str), _VALUE)
