"""Charts as inline SVG. Colors and strokes come from the page's CSS, for light and dark mode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from mathloop.curves import Point, thin
from mathloop.evaluation.table import Score
from mathloop.reports.figures import label, percent, points, scalar
from mathloop.reports.markup import Child, Markup, element

_SHORT = {"champion": "champ."}
"""Abbreviations of names that do not fit below a panel."""


@dataclass(frozen=True)
class Scale:
    """Maps values in [start, end] to pixels in [first, last]."""

    start: float
    end: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        share = (value - self.start) / (self.end - self.start) if self.end != self.start else 0.5
        return round(self.first + share * (self.last - self.first), 2)


def ticks(low: float, high: float, about: int) -> list[float]:
    """About `about` round numbers (1, 2 or 5 times a power of ten) inside [low, high]."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [index * step for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def tick_labels(values: Sequence[float]) -> list[str]:
    """Labels of ticks, with as many digits as tell them apart: 0.9996, 1.0000, 1.0004."""
    labels = [scalar(value) for value in values]
    if len(set(labels)) == len(labels):
        return labels
    step = min(other - one for one, other in pairwise(values))
    digits = min(max(0, math.ceil(-math.log10(step))), 12) if step > 0 else 12
    return [f"{value:.{digits}f}".replace("-", "−") for value in values]


def smooth(curve: Sequence[Point]) -> tuple[list[Point], int]:
    """A centered moving mean, and its window in points; short curves are unchanged (window 1)."""
    window = 1 if len(curve) < 30 else 2 * (len(curve) // 30) + 1
    half = window // 2
    smoothed = []
    for index, (x, _) in enumerate(curve):
        run = [y for _, y in curve[max(index - half, 0) : index + half + 1]]
        smoothed.append((x, sum(run) / len(run)))
    return smoothed, window


def curve_chart(name: str, curve: Sequence[Point], context: str, axis: str = "step") -> Markup:
    """One small chart: raw points faint, their moving mean bold, labeled with its last value.

    `axis` is what the x axis counts.
    """
    raw = thin(curve)
    mean, window = smooth(raw)
    width, height, left, right, top, bottom = 340, 170, 46, 54, 12, 30
    values = [y for _, y in raw]
    low, high = min(values), max(values)
    pad = (high - low) * 0.06 or abs(high) * 0.1 or 0.1
    x = Scale(raw[0][0], raw[-1][0], left, width - right)
    y = Scale(low - pad, high + pad, height - bottom, top)
    marked = ticks(low - pad, high + pad, 4)
    grid = [
        (
            element("line", class_="grid", x1=left, x2=width - right, y1=y(tick), y2=y(tick)),
            element("text", shown, class_="tick", x=left - 6, y=y(tick) + 4, text_anchor="end"),
        )
        for tick, shown in zip(marked, tick_labels(marked), strict=True)
    ]
    ends = [] if len(raw) == 1 else [raw[0][0], raw[-1][0]]
    steps = [
        element("text", scalar(step), class_="tick", x=x(step), y=height - bottom + 15, text_anchor=anchor)
        for step, anchor in zip(ends, ("start", "end"), strict=False)
    ]
    middle = (left + width - right) / 2
    only = f"{axis} {scalar(raw[0][0])}" if len(raw) == 1 else axis
    named = element("text", only, class_="axis", x=middle, y=height - bottom + 15, text_anchor="middle")
    last = mean[-1]
    drawing: list[Child] = [grid, steps, named]
    if window > 1:
        drawing.append(element("path", class_="raw", d=_path(raw, x, y)))
    drawing.append(element("path", class_="mean", d=_path(mean, x, y)))
    drawing.append(element("circle", class_="end", cx=x(last[0]), cy=y(last[1]), r=3))
    drawing.append(element("text", scalar(last[1]), class_="last", x=x(last[0]) + 7, y=y(last[1]) + 4))
    drawing.append(_cursor(top, height - bottom))
    span = f"over {axis} {scalar(raw[0][0])} to {scalar(raw[-1][0])}"
    summary = f"{context} {name}: {scalar(mean[0][1])} to {scalar(last[1])} {span}"
    return _svg(width, height, summary, drawing, class_="curve", data_points=_hover(raw, x, y, axis))


def score_panel(
    name: str, models: Sequence[str], modes: Sequence[Sequence[Score | None]], low: float, high: float
) -> Markup:
    """Dots with 95 % whiskers, one series per mode, over models from left to right.

    `modes` holds the series of CoT and TIR, each with a score or None per model; `low` and `high` are the
    ends of the y axis, shared by neighboring panels.
    """
    width, height, left, right, top, bottom = 236, 216, 30, 34, 12, 26
    present = [score for series in modes for score in series if score is not None]
    y = Scale(low, high, height - bottom, top)
    x = Scale(0, max(len(models) - 1, 1), left + 18, width - right - 14)
    drawing: list[Child] = []
    for tick in ticks(low, high, 4):
        drawing.append(element("line", class_="grid", x1=left, x2=width - right, y1=y(tick), y2=y(tick)))
        drawing.append(
            element("text", scalar(100 * tick), class_="tick", x=left - 5, y=y(tick) + 4, text_anchor="end")
        )
    for index, model in enumerate(models):
        short = _SHORT.get(model) or label(model)
        drawing.append(element("text", short, class_="tick", x=x(index), y=height - 8, text_anchor="middle"))
    ends = []
    for series, shift in zip(modes, (-4, 4), strict=True):
        placed = [(x(index) + shift, score) for index, score in enumerate(series) if score is not None]
        if not placed:
            continue
        mode = placed[0][1].mode
        path = " ".join(f"{'L' if i else 'M'}{at} {y(score.value)}" for i, (at, score) in enumerate(placed))
        marks = [_mark(at, score, y) for at, score in placed]
        drawing.append(element("g", element("path", class_="link", d=path), marks, class_=mode))
        ends.append((y(placed[-1][1].value), placed[-1][1]))
    for at, score in _spread(ends, 13):
        drawing.append(
            element("text", percent(score.value), class_=f"last {score.mode}", x=width - right, y=at + 4)
        )
    summary = f"{name}, percent correct: " + ", ".join(
        f"{label(score.model)} {label(score.mode)} {percent(score.value)}" for score in present
    )
    return _svg(width, height, summary, drawing, class_="panel")


def difference_chart(difference: float, low: float, high: float, margin: float) -> Markup:
    """The gate's interval against zero and the margin, in percentage points."""
    width, height, left, right, axis = 460, 74, 12, 12, 44
    reach = max(abs(low), abs(high), margin, 0.02) * 1.15
    x = Scale(-reach, reach, left, width - right)
    drawing: list[Child] = [element("line", class_="grid", x1=left, x2=width - right, y1=axis, y2=axis)]
    for tick in ticks(-reach, reach, 6):
        drawing.append(element("line", class_="grid", x1=x(tick), x2=x(tick), y1=axis - 4, y2=axis + 4))
        shown = points(tick).replace(".0", "") if tick else "0"
        drawing.append(element("text", shown, class_="tick", x=x(tick), y=axis + 20, text_anchor="middle"))
    drawing.append(element("line", class_="zero", x1=x(0), x2=x(0), y1=8, y2=axis + 6))
    if margin:
        drawing.append(element("line", class_="margin", x1=x(margin), x2=x(margin), y1=8, y2=axis + 6))
    drawing.append(element("line", class_="band", x1=x(low), x2=x(high), y1=axis - 14, y2=axis - 14))
    drawing.append(element("circle", class_="dot", cx=x(difference), cy=axis - 14, r=6))
    summary = f"Difference {points(difference)} points, 95 % interval {points(low)} to {points(high)}"
    return _svg(width, height, summary, drawing, class_="difference")


def interval_bar(score: Score) -> Markup:
    """A small bar from 0 to 100 % with the score's interval and mean."""
    x = Scale(0, 1, 3, 97)
    drawing = [
        element("line", class_="track", x1=3, x2=97, y1=5, y2=5),
        element("line", class_="band", x1=x(score.low), x2=x(score.high), y1=5, y2=5),
        element("circle", class_="dot", cx=x(score.value), cy=5, r=2.6),
    ]
    return element("svg", drawing, viewBox="0 0 100 10", class_=f"interval {score.mode}", aria_hidden="true")


def _mark(at: float, score: Score, y: Scale) -> Markup:
    """A circle for CoT and a diamond for TIR, distinguishable without color."""
    middle = y(score.value)
    if score.mode == "tir":
        shape = element("path", class_="dot", d=f"M{at} {middle - 5}l5 5l-5 5l-5 -5z")
    else:
        shape = element("circle", class_="dot", cx=at, cy=middle, r=4)
    whisker = element("line", class_="whisker", x1=at, x2=at, y1=y(score.low), y2=y(score.high))
    words = f"{label(score.model)} {label(score.mode)}: {percent(score.value)} %"
    interval = f"95 % interval {percent(score.low)} to {percent(score.high)}, {score.n} problems"
    return element("g", element("title", f"{words} ({interval})"), whisker, shape)


def _spread(ends: Sequence[tuple[float, Score]], gap: float) -> list[tuple[float, Score]]:
    """Moves two labels apart if they would overlap."""
    ordered = sorted(ends, key=lambda end: end[0])
    if len(ordered) == 2 and ordered[1][0] - ordered[0][0] < gap:
        middle = (ordered[0][0] + ordered[1][0]) / 2
        return [(middle - gap / 2, ordered[0][1]), (middle + gap / 2, ordered[1][1])]
    return ordered


def _path(curve: Sequence[Point], x: Scale, y: Scale) -> str:
    return "M" + "L".join(f"{x(step):g} {y(value):g}" for step, value in curve)


def _hover(curve: Sequence[Point], x: Scale, y: Scale, axis: str) -> str:
    """Data for the page's script: per point, pixel x, pixel y and the text to show."""
    return ";".join(
        f"{x(step):g}|{y(value):g}|{axis} {scalar(step)}: {scalar(value)}" for step, value in curve
    )


def _cursor(top: float, bottom: float) -> Markup:
    parts = [
        element("line", class_="rule", x1=0, x2=0, y1=top, y2=bottom),
        element("circle", r=3.5, cx=0, cy=0),
        element("text", class_="value", x=0, y=top - 1),
    ]
    return element("g", parts, class_="cursor", hidden="")


def _svg(width: int, height: int, summary: str, drawing: Child, **attributes: str) -> Markup:
    shown = {"viewBox": f"0 0 {width} {height}", "role": "img", "aria_label": summary}
    return element("svg", drawing, **shown, **attributes)
