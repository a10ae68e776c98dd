"""The table of scores, and how it looks on a terminal."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from mathloop.evaluation.config import KINDS, Kind
from mathloop.files import write_file

MODELS = ("base", "sft", "challenger", "champion")
"""The order in which models are shown; others follow by name."""
NAMES = {"sft": "SFT", "cot": "CoT", "tir": "TIR"}
"""How models and modes are written where it differs from their label."""


@dataclass(frozen=True, slots=True)
class Score:
    """One cell: a mean over problems, with its 95 % bootstrap interval."""

    model: str
    mode: str
    group: str
    """`all`, `family:<name>`, `language:<zh>`, `level:<3>`, `benchmark:<name>`, or their `average`."""
    metric: str
    """`greedy`, or `mean@8`, `maj@8`, `rm@8`, `weighted@8`, `pass@8` with the table's k."""
    value: float
    """0 to 1, as are `low` and `high`."""
    low: float
    high: float
    n: int
    """Problems."""


@dataclass(frozen=True)
class Table:
    """Scores by model, mode, group and metric."""

    k: int
    """Samples behind mean@k, maj@k, rm@k, weighted@k and pass@k; the largest of several."""
    scores: tuple[Score, ...]
    _cells: dict[tuple[str, str, str, str], Score] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        cells = {(score.model, score.mode, score.group, score.metric): score for score in self.scores}
        object.__setattr__(self, "_cells", cells)

    def get(self, model: str, mode: str, metric: str, group: str = "all") -> Score | None:
        """The cell, or None where nothing was measured. `metric` may leave out k: `maj` finds `maj@8`,
        the one with the largest k."""
        name = metric if "@" in metric else metric_name(metric, self.k)
        return self._cells.get((model, mode, group, name))

    @property
    def models(self) -> list[str]:
        """Labels present, in the order base, sft, challenger, champion, others."""
        present = {score.model for score in self.scores}
        return [name for name in MODELS if name in present] + sorted(present.difference(MODELS))

    @property
    def ks(self) -> list[int]:
        """Every k of the table, ascending."""
        return sorted({int(score.metric.partition("@")[2]) for score in self.scores if "@" in score.metric})

    @property
    def metrics(self) -> list[str]:
        """Metrics present, in the order in which they are shown; mean@k is not shown."""
        present = {score.metric for score in self.scores}
        counts = self.ks or [self.k]
        names = [metric_name(kind, k) for kind in KINDS if kind != "mean" for k in counts]
        return [name for name in dict.fromkeys(names) if name in present]

    @property
    def modes(self) -> list[str]:
        """Modes present: cot, tir."""
        return sorted({score.mode for score in self.scores})

    @property
    def groups(self) -> list[str]:
        """`all` first, then the others by name."""
        return sorted({score.group for score in self.scores}, key=lambda group: (group != "all", group))

    def to_rows(self) -> list[dict[str, Any]]:
        """JSON-able rows with the keys of `Score`."""
        return [asdict(score) for score in self.scores]

    def write(self, folder: Path) -> None:
        """Writes the rows to scores.csv and scores.json; fractions, with the fields of `Score`."""
        write_file(folder / "scores.csv", self.to_csv().encode())
        write_file(folder / "scores.json", json.dumps(self.to_rows(), ensure_ascii=False, indent=1).encode())

    def to_csv(self) -> str:
        """The same rows as CSV, with a first line of names."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [one.name for one in fields(Score)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.to_rows())
        return text.getvalue()

    @classmethod
    def from_rows(cls, rows: Iterable[dict[str, Any]]) -> Table:
        """Undoes `to_rows`."""
        scores = tuple(Score(**row) for row in rows)
        counts = {int(score.metric.partition("@")[2]) for score in scores if "@" in score.metric}
        return cls(max(counts, default=0), scores)


def metric_name(kind: Kind, k: int) -> str:
    """A kind of score over k samples: `maj@8`; greedy has no k."""
    return kind if kind == "greedy" else f"{kind}@{k}"


def print_table(table: Table, group: str = "all") -> str:
    """Plain text, in percent: a row per model and mode, each score with its 95 % interval."""
    lines = _grid(table, [group], table.metrics)
    problems = max((score.n for score in table.scores if score.group == group), default=0)
    lines.append(f"Percent of {problems} problems right, with 95 % bootstrap intervals over problems.")
    return "\n".join(lines)


def print_scores(table: Table) -> str:
    """Plain text, in percent: by benchmark with their average, else by language, and by level.

    Several k have a block each, as a line of all metrics would not fit a terminal. Of k = 1 among them only
    pass@1 is shown, which is the mean over all samples, as every vote over one sample is. Languages and
    levels are shown for the largest k.
    """
    present = table.groups
    languages, levels, benchmarks = (
        [one for one in present if one.startswith(f"{kind}:")] for kind in ("language", "level", "benchmark")
    )
    averages = [one for one in present if one.startswith("average")]
    ks = table.ks or [table.k]
    lines: list[str] = []
    for number in range(len(ks)):
        groups = [*benchmarks, *averages] or ["all"]
        lines += [*_grid(table, groups, _shown_at(table, ks, number), named=True), ""]
    for groups in ([] if averages else languages, levels):
        if len(groups) > 1:
            lines += [*_grid(table, groups, _shown_at(table, ks[-1:], 0), named=True), ""]
    if missing := _not_measured(table, benchmarks):
        lines.append(f"Not measured, and not in the averages: {'; '.join(missing)}.")
    lines.append("Percent of problems right, with 95 % bootstrap intervals over problems.")
    return "\n".join(lines)


def _shown_at(table: Table, ks: Sequence[int], number: int) -> list[str]:
    """The metrics of one block of several k: those that are the same for all of them only in the first."""
    k = ks[number]
    if k == 1 and len(ks) > 1:
        shown = ["greedy", "pass@1"]
    else:
        first = ["greedy", metric_name("mean", k)] if number == 0 else []
        shown = first + [name for name in table.metrics if name.endswith(f"@{k}")]
    present = {score.metric for score in table.scores}
    return [name for name in shown if name in present]


def _not_measured(table: Table, benchmarks: Sequence[str]) -> list[str]:
    """Passes of a model that lack a benchmark: `policy TIR on svamp`, `policy CoT samples on gsm8k`."""
    passes: dict[tuple[str, str, bool], set[str]] = {}
    for score in table.scores:
        passes.setdefault((score.model, score.mode, score.metric == "greedy"), set()).add(score.group)
    found = []
    for model, mode in dict.fromkeys((model, mode) for model, mode, _ in passes):
        own = {greedy: groups for (*who, greedy), groups in passes.items() if who == [model, mode]}
        for benchmark in benchmarks:
            lacking = [greedy for greedy, groups in own.items() if benchmark not in groups]
            if lacking:
                what = "" if len(lacking) == len(own) else " greedy" if lacking[0] else " samples"
                found.append(
                    f"{NAMES.get(model, model)} {NAMES.get(mode, mode)}{what} on {_shown(benchmark)}"
                )
    return found


def _grid(table: Table, groups: Sequence[str], metrics: Sequence[str], *, named: bool = False) -> list[str]:
    """Lines of a table with a row per group, model and mode; `named` adds the group and its problems."""
    labels = 4 if named else 2
    measured = {(score.model, score.mode) for score in table.scores}
    rows = [[*(("", "", "", "problems") if named else ("", "")), *metrics]]
    for group in groups:
        for model in table.models:
            for mode in table.modes:
                scores = [table.get(model, mode, metric, group) for metric in metrics]
                if any(scores) or (group.startswith("benchmark:") and (model, mode) in measured):
                    counts = sorted({score.n for score in scores if score is not None})
                    number = "–".join(map(str, dict.fromkeys((counts[0], counts[-1])))) if counts else "–"
                    names = [NAMES.get(model, model), NAMES.get(mode, mode)]
                    names = [_shown(group), *names, number] if named else names
                    rows.append([*names, *(_cell(score) for score in scores)])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        left = [cell.ljust(width) for cell, width in zip(row[:labels], widths, strict=False)]
        right = [cell.rjust(width) for cell, width in zip(row[labels:], widths[labels:], strict=True)]
        lines.append("  ".join(left + right).rstrip())
    lines.insert(1, "─" * max(len(line) for line in lines))
    return lines


def _shown(group: str) -> str:
    kind, _, name = group.partition(":")
    if kind == "average":
        return f"average {name}".rstrip()
    return f"level {name}" if kind == "level" else name or "all"


def _cell(score: Score | None) -> str:
    if score is None:
        return "–"
    return f"{100 * score.value:.1f} [{100 * score.low:.1f}, {100 * score.high:.1f}]"
