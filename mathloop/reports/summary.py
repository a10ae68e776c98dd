"""A stage's summary: Markdown for the run's page, with the whole StageReports embedded.

The reports are compressed JSON in a comment at the end, which Markdown viewers do not show. So one artifact
per step serves people and the round's report. A step can have several stages, and it can carry the reports of
earlier steps, so that a nested pipeline has one summary for all of its steps.
"""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mathloop.errors import BadData
from mathloop.files import write_file
from mathloop.reports.figures import count, duration, percent, scalar, title, words
from mathloop.stages import StageReport

_EXAMPLES = 3
_LONGEST = 600
"""Maximum characters per field of an example."""
_OPENING, _CLOSING = "<!-- mathloop ", " -->"


def write_summary(reports: Sequence[StageReport], path: Path, *, carried: Sequence[StageReport] = ()) -> None:
    """Writes the summary of a step whose stages succeeded, atomically.

    Args:
        carried: Reports of earlier steps, embedded before the step's own but not shown.
    """
    shown = "\n\n".join(map(markdown, reports))
    write_file(path, f"{shown}\n\n{_comment([*carried, *reports])}\n".encode(errors="replace"))


def write_failure(error: Exception, path: Path) -> None:
    """Writes the error message of a stage that failed."""
    line = " ".join(str(error).split())
    write_file(path, f"**Failed.** {_plain(line)}\n".encode(errors="replace"))


def read_summary(path: Path) -> list[StageReport]:
    """The reports embedded in a summary, in the order of their stages; raises BadData if there are none."""
    try:
        text = path.read_text(encoding="utf-8")
        start = text.rindex(_OPENING) + len(_OPENING)
        data = base64.b64decode(text[start : text.rindex(_CLOSING)], validate=True)
        return [StageReport(**report) for report in json.loads(zlib.decompress(data))]
    except (OSError, ValueError, TypeError, zlib.error) as error:
        raise BadData(
            f"expected a stage's summary, as write_summary writes it: {error}", path=path
        ) from error


def markdown(report: StageReport) -> str:
    """Counts, scores, reasons, values and a few examples."""
    blocks = [f"### {title(report.stage)}", _flow(report), *map(_plain, report.notes)]
    blocks += _table("Scores (percent)", {words(k): f"{v:.1f}" for k, v in report.scores.items()})
    blocks += _table("Dropped", {words(k): count(v) for k, v in _most(report.dropped)})
    blocks += _table("Values", {words(k): scalar(v) for k, v in report.values.items()})
    if report.samples:
        blocks.append("#### Examples")
        blocks += [_example(sample) for sample in report.samples[:_EXAMPLES]]
    return "\n\n".join(block for block in blocks if block)


def _flow(report: StageReport) -> str:
    dropped = sum(report.dropped.values())
    parts = [f"{count(report.inputs)} in"] if report.inputs else []
    parts += [f"{count(report.generated)} generated"] if report.generated else []
    parts += [f"{count(report.kept)} kept"] if report.kept or dropped else []
    if dropped:
        parts.append(f"{count(dropped)} dropped ({percent(dropped / (dropped + report.kept))} %)")
    return " → ".join([*parts, duration(report.seconds)])


def _table(head: str, rows: Mapping[str, str]) -> Iterator[str]:
    if rows:
        lines = [f"| {_cell(name)} | {_cell(value)} |" for name, value in rows.items()]
        yield "\n".join([f"| {head} | |", "| --- | ---: |", *lines])


def _most(reasons: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(reasons.items(), key=lambda reason: -reason[1])


def _example(sample: Mapping[str, Any]) -> str:
    lines = []
    for name, value in sample.items():
        if value is None or value == "":
            continue
        text = scalar(value) if isinstance(value, float) else str(value)
        text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
        lines.append(f"**{_plain(words(name))}**")
        # Indented by four spaces, any content stays literal.
        lines.append("\n".join(f"    {line}" for line in text.splitlines()))
    return "\n\n".join(lines)


def _cell(text: str) -> str:
    return _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """Text escaped, on one line: models write much of the examples, reasons and notes."""
    escaped = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    escaped = re.sub(r"[\\`*_~[\]#]", r"\\\g<0>", escaped)
    # At the beginning of a line these make a list, a heading or a rule.
    escaped = re.sub(r"^[-+=]", r"\\\g<0>", escaped)
    return re.sub(r"^(\d+)([.)])(?= |$)", r"\1\\\2", escaped)


def _comment(reports: Sequence[StageReport]) -> str:
    # Base64: nothing in it can end the comment, and no viewer takes it for Markdown.
    data = zlib.compress(json.dumps([asdict(report) for report in reports], allow_nan=False).encode())
    return f"{_OPENING}{base64.b64encode(data).decode()}{_CLOSING}"
