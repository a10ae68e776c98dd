"""The layouts in which other programs save responses: a literal table, the most specific first.

To add one, add a line to `LAYOUTS`: the columns that it is recognized by, and which column holds what.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mathloop.errors import BadData
from mathloop.evaluation.lighteval_details import with_verdict, with_verdict_of_old
from mathloop.evaluation.response_fields import SAVED, Fields
from mathloop.problems.sources.places import Row, outer_columns, value_at


@dataclass(frozen=True, slots=True)
class ResponseLayout:
    """Where another program keeps the parts of a saved response."""

    name: str
    needs: tuple[str, ...]
    """Columns that every row has."""
    fields: Fields
    once: str = ""
    """Column of which the first row's value alone counts: each response is there once per value."""
    files: str = ""
    """Names of its files in a folder where others are beside them."""
    benchmark: str = ""
    """Names of its files, with the benchmark's name as a group."""
    prepared: Callable[[Row], Row] | None = None
    """A row with further columns, where a part is in no column of its own."""

    def columns(self) -> set[str]:
        """The columns that are read."""
        return {*self.needs, *outer_columns(dict(self.fields).values())}

    def as_saved(self, row: Row, path: Path) -> Row:
        """A row of this layout with the columns that `mathloop evaluate` writes; raises BadData."""
        row = self.prepared(row) if self.prepared else row
        found = {
            column: value_at(row, theirs)
            for (_, column), theirs in zip(SAVED, dict(self.fields).values(), strict=True)
            if column and theirs
        }
        if not isinstance(found.get("correct"), list) and len(samples_of(found["text"])) > 1:
            found["correct"] = None  # One verdict on several samples, their vote's or the first one's.
        if named := re.fullmatch(self.benchmark, path.name) if self.benchmark else None:
            found["benchmark"] = named[1]
        return found

    def blamed(self, error: BadData) -> BadData:
        """The error about a row of `as_saved`, with the column that the row had."""
        theirs = dict(zip(dict(SAVED).values(), dict(self.fields).values(), strict=True))
        message = str(error).partition(": ")[2]
        return BadData(f"{message} (read as {self.name})", field=theirs.get(error.field or "") or error.field)


_LM_EVAL = Fields(response="resps", answer="target", problem="doc.question", id="doc_id")
_LIGHTEVAL = "details_*_20[0-9][0-9]-*.parquet"
_LIGHTEVAL_TASK = r"details_(.+)_20\d\d-\d\d-.*"
_LM_EVAL_KEYS = ("doc_id", "doc", "target", "resps", "filter")


def _lm_eval(label: str, problem: str) -> ResponseLayout:
    return ResponseLayout(
        "lm-evaluation-harness",
        (*_LM_EVAL_KEYS, *filter(None, [label])),
        _LM_EVAL.model_copy(update={"label": label, "problem": problem}),
        once="filter",
        files="samples_*_20[0-9][0-9]-*.jsonl",
        benchmark=r"samples_(.+)_20\d\d-\d\d-.*",
    )


LAYOUTS: tuple[ResponseLayout, ...] = (
    _lm_eval("math_verify", "doc.problem"),
    _lm_eval("exact_match", "doc.question"),
    _lm_eval("", "doc.question"),
    ResponseLayout("NeMo-Skills", ("problem", "generation", "expected_answer", "symbolic_correct"),
                   Fields(response="generation", answer="expected_answer", problem="problem",
                          label="symbolic_correct"), files="output-rs[0-9]*.jsonl"),
    ResponseLayout("NeMo-Skills", ("problem", "generation", "expected_answer"),
                   Fields(response="generation", answer="expected_answer", problem="problem"),
                   files="output-rs[0-9]*.jsonl"),
    ResponseLayout("Qwen2.5-Math's best of n", ("question", "code", "gt", "pred_score", "score"),
                   Fields(response="code", answer="gt", problem="question", reward="pred_score",
                          label="score")),
    ResponseLayout("Qwen2.5-Math's evaluation", ("question", "code", "gt", "score"),
                   Fields(response="code", answer="gt", problem="question", label="score")),
    ResponseLayout("OpenR1-Math", ("problem", "answer", "generations", "correctness_math_verify"),
                   Fields(response="generations", answer="answer", problem="problem",
                          label="correctness_math_verify")),
    ResponseLayout("lighteval", ("doc", "model_response", "metric"),
                   Fields(response="response", answer="gold", problem="doc.query", id="doc.id",
                          label="verdict"),
                   files=_LIGHTEVAL, benchmark=_LIGHTEVAL_TASK, prepared=with_verdict),
    ResponseLayout("lighteval", ("full_prompt", "predictions", "gold", "metrics"),
                   Fields(response="response", answer="gold", problem="full_prompt", label="verdict"),
                   files=_LIGHTEVAL, benchmark=_LIGHTEVAL_TASK, prepared=with_verdict_of_old),
    ResponseLayout("verl's rollouts", ("input", "output", "gts", "step", "acc"),
                   Fields(response="output", answer="gts", problem="input", label="acc")),
    ResponseLayout("verl's rollouts", ("input", "output", "gts", "step"),
                   Fields(response="output", answer="gts", problem="input")),
)  # fmt: skip


def samples_of(value: Any) -> list[Any]:
    """The samples in a row: one alone, a list of them, or a list of one list, as of one request."""
    if not isinstance(value, list):
        return [value]
    return value[0] if len(value) == 1 and isinstance(value[0], list) else value


def recognize(columns: Collection[str]) -> ResponseLayout | None:
    """The layout of rows with these columns; None if it is none of the table."""
    return next((layout for layout in LAYOUTS if set(layout.needs) <= set(columns)), None)


def files_beside_others(place: Path) -> list[Path]:
    """The files of a folder that a layout names, where a program wrote others beside them; empty if none.

    Raises BadData where two of them are of one benchmark: they are two runs, or those of two models.
    """
    for layout in {layout.files: layout for layout in LAYOUTS if layout.files}.values():
        found = sorted(path for path in place.rglob(layout.files) if path.is_file())
        runs: dict[str, Path] = {}
        for path in found:
            if (named := re.fullmatch(layout.benchmark, path.name)) is None:
                continue
            if (first := runs.setdefault(named[1], path)) != path:
                names = " and ".join(str(one.relative_to(place)) for one in (first, path))
                raise BadData(f"it has two runs of {named[1]}, {names}; give one of them", path=place)
        if found:
            return found
    return []
