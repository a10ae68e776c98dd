"""The sections about the run: stages and curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mathloop.curves import AXES
from mathloop.reports.charts import curve_chart
from mathloop.reports.data_files import data_note
from mathloop.reports.decontamination import is_decontamination
from mathloop.reports.figures import count, duration, scalar, title, words
from mathloop.reports.markup import Child, Markup, clip, element
from mathloop.reports.samples import prose
from mathloop.stages import StageReport

_SHOWN_NOTES = 3
_SHOWN_SAMPLES = 6
"""Samples shown per stage; its report may hold more."""


def stages_section(stages: Sequence[StageReport]) -> Markup:
    """One row per stage: records in and out, drop reasons, duration."""
    longest = max((stage.seconds for stage in stages), default=0.0) or 1.0
    rows = [_stage(stage, longest) for stage in stages]
    intro = "Records that each stage read, generated, kept and dropped, with the reasons."
    return element(
        "section",
        element("h2", "Stages"),
        element("p", intro, class_="caption"),
        element("ol", rows, class_="stages"),
        data_note(
            "cot/responses", "tir/responses", "reward-data/responses", "selection/selected", "*/dropped"
        ),
        id="stages",
    )


def curves_section(stages: Sequence[StageReport]) -> Markup | None:
    """A small chart for every curve in the stages' reports."""
    charts = [
        element(
            "figure",
            element("figcaption", element("span", title(stage.stage), " · "), _caption(name)),
            curve_chart(words(name), curve, title(stage.stage), axis=AXES.get(name, ("step", ""))[0]),
        )
        for stage in stages
        for name, curve in stage.curves.items()
        if curve
    ]
    if not charts:
        return None
    intro = "Faint: every step. Bold: a moving mean with its last value. Hover over a chart to read values."
    return element(
        "section",
        element("h2", "Curves"),
        element("p", intro, class_="caption"),
        element("div", charts, class_="curves"),
        data_note("grpo/rollouts"),
        id="curves",
    )


def _caption(name: str) -> str:
    """The curve's name, with what its y axis counts where the name does not say it."""
    counted = AXES.get(name, ("", ""))[1]
    return f"{words(name)}, y: {counted}" if counted else words(name)


def _stage(stage: StageReport, longest: float) -> Markup:
    dropped = {reason: number for reason, number in stage.dropped.items() if number}
    flow = [f"{count(stage.inputs)} in"] if stage.inputs else []
    flow += [f"{count(stage.generated)} generated"] if stage.generated else []
    flow += [f"{count(stage.kept)} kept"] if stage.kept or dropped else []
    speed = stage.values.get("tokens_per_second")
    cost = [element("span", duration(stage.seconds), class_="seconds")]
    if speed is not None:
        cost.append(element("span", f"{count(speed)} tokens/s", class_="speed"))
    reasons = [
        element("li", element("b", count(number)), " ", words(reason))
        for reason, number in sorted(dropped.items(), key=lambda item: -item[1])
    ]
    lost = sum(dropped.values())
    bar = _bar(stage.kept, lost) if stage.kept or lost else None
    return element(
        "li",
        element("h3", title(stage.stage)),
        element("div", bar, element("p", " → ".join(flow), class_="flow"), class_="funnel"),
        element(
            "div",
            element("div", style=f"width:{max(100 * stage.seconds / longest, 0.5):.1f}%", class_="clock"),
            cost,
            class_="cost",
        ),
        element("ul", element("li", "dropped:"), reasons, class_="reasons") if reasons else None,
        [element("p", clip(note, 2_000), class_="note") for note in stage.notes[:_SHOWN_NOTES]],
        _details(stage),
    )


def _bar(kept: int, lost: int) -> Markup:
    share = 100 * kept / (kept + lost)
    label = f"{count(kept)} kept, {count(lost)} dropped ({share:.0f} % kept)"
    return element(
        "div",
        element("div", style=f"width:{share:.1f}%"),
        class_="bar",
        title=label,
        role="img",
        aria_label=label,
    )


def _details(stage: StageReport) -> Markup | None:
    more = stage.notes[_SHOWN_NOTES:]
    inside: list[Child] = [element("p", clip(note, 2_000)) for note in more]
    if stage.values:
        inside.append(pairs({words(name): scalar(value) for name, value in stage.values.items()}))
    if not is_decontamination(stage):
        inside += [_sample(sample) for sample in stage.samples[:_SHOWN_SAMPLES]]
    if not inside:
        return None
    contents = [
        "more notes" if more else "",
        "values" if stage.values else "",
        "samples" if stage.samples and not is_decontamination(stage) else "",
    ]
    summary = ", ".join(name for name in contents if name)
    return element("details", element("summary", summary.capitalize()), inside)


def _sample(sample: Mapping[str, Any]) -> Markup:
    """An example record of a stage, with any fields."""
    parts = []
    for name, value in sample.items():
        if value is None or value == "":
            continue
        body: Child
        if isinstance(value, str) and (len(value) > 60 or "\n" in value):
            body = prose(value)
        elif isinstance(value, float):
            body = scalar(value)
        else:
            body = clip(str(value))
        parts.append(element("div", element("dt", words(name)), element("dd", body)))
    return element("dl", parts, class_="sample")


def pairs(values: Mapping[str, Child]) -> Markup:
    """Names beside their values."""
    rows = [element("div", element("dt", key), element("dd", value)) for key, value in values.items()]
    return element("dl", rows, class_="pairs")
