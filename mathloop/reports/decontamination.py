"""The decontamination section: removals by source, benchmark and rule, with examples side by side."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from pathlib import Path
from typing import Any

from mathloop.files import write_file
from mathloop.reports.figures import count, title, words
from mathloop.reports.markup import Child, Markup, clip, element
from mathloop.reports.page import page
from mathloop.stages import StageReport

_SHOWN_SAMPLES = 24
_SHOWN_CHARACTERS = 1_500
"""Longer texts are truncated."""
_PIECE = re.compile(r"\s+|\w+|[^\w\s]")
_PAIR = "removed: "
"""Prefix of values that count removed rows per source and benchmark."""
_RULES = {
    "ngram_lcs": "shared n-gram and long common subsequence",
    "exact": "exact copy of the item",
    "structure": "same problem with different numbers",
    "rephrased": "same problem in other words",
}


def run(*, report: StageReport, out: Path, heading: str) -> None:
    """Writes the report of one decontamination as a self-contained HTML file, atomically.

    Raises:
        StorageRefused: the disk refuses the file.
    """
    removed = sum(report.dropped.values())
    share = f" ({100 * removed / report.inputs:.2f} %)" if report.inputs else ""
    header = element(
        "header",
        element("p", "Decontamination", class_="eyebrow"),
        element("h1", heading),
        element(
            "p", f"{count(report.inputs)} rows checked, {count(removed)} removed{share}.", class_="reason"
        ),
    )
    document = page(heading, header, {"decontamination": section([report])})
    write_file(out, document.encode("utf-8"))


def section(stages: Sequence[StageReport]) -> Markup | None:
    """Removals of every decontamination stage; None if there is no such stage."""
    found = [stage for stage in stages if is_decontamination(stage)]
    if not found:
        return None
    intro = (
        "Training data that resembles a benchmark item is removed before training."
        " Differences between the two texts are highlighted."
    )
    return element(
        "section",
        element("h2", "Decontamination"),
        element("p", intro, class_="caption"),
        [_stage(stage) for stage in found],
        id="decontamination",
    )


def is_decontamination(stage: StageReport) -> bool:
    """Whether the stage is a decontamination stage."""
    return "decontaminat" in stage.stage


def _stage(stage: StageReport) -> list[Child]:
    removed = sum(stage.dropped.values())
    by_benchmark = any(": " in reason for reason in stage.dropped)
    rules = "" if by_benchmark else _by_rule(stage.dropped)
    line = f"{count(stage.inputs)} checked, {count(removed)} removed{rules}."
    return [
        element("h3", title(stage.stage)),
        element("p", line),
        _reasons(stage.dropped) if by_benchmark else None,
        _matrix(stage.values),
        [_finding(sample) for sample in stage.samples[:_SHOWN_SAMPLES]],
    ]


def _by_rule(dropped: Mapping[str, int]) -> str:
    reasons = ", ".join(f"{count(number)} by {words(rule)}" for rule, number in dropped.items() if number)
    return f": {reasons}" if reasons else ""


def _reasons(dropped: Mapping[str, int]) -> Markup | None:
    """One row per benchmark, one column per rule."""
    counts = {tuple(reason.rpartition(": ")[::2]): number for reason, number in dropped.items() if number}
    if not counts:
        return None
    benchmarks = sorted({benchmark for benchmark, _ in counts})
    rules = sorted({rule for _, rule in counts}, key=lambda rule: ([*_RULES, rule].index(rule), rule))
    rows = [
        (benchmark or "benchmark", [counts.get((benchmark, rule), 0) for rule in rules])
        for benchmark in benchmarks
    ]
    return _table("Removed, by benchmark and rule", "benchmark", [words(rule) for rule in rules], rows)


def _matrix(values: Mapping[str, float]) -> Markup | None:
    """One row per source of training data, one column per benchmark."""
    pairs = {
        name.removeprefix(_PAIR).rpartition(" × ")[::2]: n
        for name, n in values.items()
        if name.startswith(_PAIR)
    }
    if not pairs:
        return None
    sources, benchmarks = (sorted({pair[place] for pair in pairs}) for place in (0, 1))
    rows = [(source, [pairs.get((source, benchmark), 0) for benchmark in benchmarks]) for source in sources]
    return _table("Contamination, by source and benchmark", "source", benchmarks, rows)


def _table(
    caption: str, corner: str, heads: Sequence[str], rows: Sequence[tuple[str, Sequence[float]]]
) -> Markup:
    head = element(
        "tr", element("th", corner), [element("th", clip(name, 60)) for name in heads], element("th", "all")
    )
    body = [
        element(
            "tr",
            element("th", clip(name, 60)),
            [element("td", count(number) if number else "·") for number in numbers],
            element("td", element("b", count(sum(numbers)))),
        )
        for name, numbers in rows
    ]
    return element(
        "table", element("caption", caption), element("thead", head), element("tbody", body), class_="counts"
    )


def _finding(sample: Mapping[str, Any]) -> Markup:
    known = ("text", "benchmark_item", "benchmark", "rule", "evidence", "id", "score")
    rule = str(sample.get("rule") or "")
    names = [str(sample[key]) for key in ("benchmark", "id") if sample.get(key)]
    others = {key: value for key, value in sample.items() if key not in known and value not in (None, "")}
    ours, theirs = _differences(str(sample.get("text", "")), str(sample.get("benchmark_item", "")))
    return element(
        "div",
        element("div", element("h4", "Training"), element("p", ours, class_="prose", dir="auto")),
        element("div", element("h4", "Benchmark"), element("p", theirs, class_="prose", dir="auto")),
        element(
            "p",
            element("b", " · ".join([*names[:1], words(rule)])),
            f" ({_RULES[rule]}) " if rule in _RULES else " ",
            _evidence(sample.get("evidence")),
            class_="caption",
        ),
        element(
            "p",
            ", ".join(f"{words(key)} {clip(str(value))}" for key, value in others.items()),
            class_="caption",
        )
        if others
        else None,
        class_="finding",
    )


def _differences(one: str, other: str) -> tuple[list[Child], list[Child]]:
    """Both texts, with the parts that differ highlighted."""
    left, right = (_PIECE.findall(clip(text, _SHOWN_CHARACTERS)) for text in (one, other))
    matcher = SequenceMatcher(
        None, [piece.lower() for piece in left], [piece.lower() for piece in right], autojunk=False
    )
    marked: tuple[list[Child], list[Child]] = ([], [])
    for kind, start, end, other_start, other_end in matcher.get_opcodes():
        for side, pieces in zip(marked, (left[start:end], right[other_start:other_end]), strict=True):
            text = "".join(pieces)
            if text:
                side.append(element("mark", text) if kind != "equal" and text.strip() else text)
    return marked


def _evidence(evidence: Any) -> str:
    if isinstance(evidence, Mapping):
        return clip(", ".join(f"{words(str(key))} {value}" for key, value in evidence.items()))
    return "" if evidence is None else clip(str(evidence))
