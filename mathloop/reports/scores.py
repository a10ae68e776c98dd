"""The sections about results: verdict, benchmarks, scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mathloop.evaluation import Score, Table
from mathloop.evaluation.cautions import cautions
from mathloop.evaluation.differences import Difference, Mark, unseen_share
from mathloop.evaluation.orderings import LARGE_NUMBERS
from mathloop.evaluation.table import metric_name
from mathloop.reports.charts import difference_chart, interval_bar, score_panel
from mathloop.reports.claims import CLASSES
from mathloop.reports.data_files import data_note
from mathloop.reports.figures import count, difference_range, duration, label, percent, points, title
from mathloop.reports.learning import nothing_learned
from mathloop.reports.markup import Child, Markup, clip, element
from mathloop.stages import StageReport
from mathloop.voting import STRATEGIES

_PLOTTED = ("base", "champion", "sft", "challenger")
"""In the order of training."""


def verdict(gate: Mapping[str, Any], published: Mapping[str, Any]) -> tuple[str, str, str]:
    """The gate's verdict: kind (`promoted`, `refused`, `overtaken`), headline and reason."""
    reason = str(gate["reason"])
    if published.get("promoted"):
        return "promoted", f"Promoted: champion {published.get('number')}", reason
    if gate["promote"]:
        return "overtaken", "Better, but not promoted", str(published.get("reason") or reason)
    return "refused", "Not promoted: the champion stays", reason


def headline(
    name: str, gate: Mapping[str, Any], published: Mapping[str, Any], stages: Sequence[StageReport]
) -> Markup:
    """Title, verdict, the difference with its interval, and a few facts."""
    kind, words, reason = verdict(gate, published)
    sides = gate.get("challenger"), gate.get("champion")
    scored = [side if isinstance(side, Mapping) else {} for side in sides]
    facts: list[tuple[str, str]] = [
        (_role(role, str(side["model"])), f"{percent(float(side['score']))} %")
        for role, side in zip(("Challenger", "Champion"), scored, strict=True)
        if "score" in side
    ]
    facts.append(("Benchmark problems", count(gate["n"])))
    facts.append(("Time in all stages", duration(sum(stage.seconds for stage in stages))))
    if (passed := time_passed(stages)) is not None:
        facts.append(("Time that passed", duration(passed)))
    low, high = float(gate["low"]), float(gate["high"])
    difference = float(gate["difference"])
    metric = str(gate.get("metric", "greedy"))
    mark = Difference(difference, low, high, int(gate["n"])).mark(float(gate.get("margin", 0.0)))
    modes = "mean over " + " and ".join(label(str(mode)) for mode in scored[0].get("modes", ("cot", "tir")))
    figure = element(
        "div",
        element("p", element("strong", points(difference)), " points", class_="difference"),
        element("p", f"challenger minus champion, {metric}, {modes}", class_="caption"),
        difference_chart(difference, low, high, float(gate.get("margin", 0.0))),
        element("p", difference_range(low, high, int(gate["n"])), class_="caption"),
        element("span", mark, class_=f"mark {CLASSES[mark]}"),
        class_="gate",
    )
    tiles = [element("div", element("dt", name), element("dd", value)) for name, value in facts]
    return element(
        "header",
        element("p", "mathloop · improvement round", class_="eyebrow"),
        element("h1", name),
        element(
            "div",
            element(
                "div",
                [element("p", line, class_="warning") for line in nothing_learned(stages)],
                element("p", words, class_=f"verdict {kind}"),
                element("p", f"{reason[:1].upper()}{clip(reason[1:].rstrip('.'), 1_000)}.", class_="reason"),
                element("dl", tiles, class_="facts"),
            ),
            figure,
            class_="headline",
        ),
    )


def time_passed(stages: Sequence[StageReport]) -> float | None:
    """Seconds from the begin of the first stage to the end of the last; None if it was not measured.

    The first are a run's checks and its first model, which are never taken from an earlier run's results.
    """
    begins = [
        one.started for one in stages if one.stage in ("preflight", "corpus", "pretrain") and one.started
    ]
    ends = [one.started + one.seconds for one in stages if one.started]
    return max(ends) - min(begins) if begins else None


def benchmarks_section(gate: Mapping[str, Any]) -> Markup | None:
    """Each benchmark's part in the gate's decision; None where there is one benchmark alone."""
    benchmarks = gate.get("benchmarks")
    if not isinstance(benchmarks, Mapping):
        return None
    names = ("weight", "problems", "champion", "challenger", "difference", "95 % interval", "better")
    rows = []
    for name, one in benchmarks.items():
        mark: Mark = one["mark"]
        cells = [
            f"{float(one['weight']):g}",
            count(one["n"]),
            percent(float(one["champion"])),
            percent(float(one["challenger"])),
            points(float(one["difference"])),
            difference_range(float(one["low"]), float(one["high"]), int(one["n"]), bare=True),
            element("span", mark, class_=f"mark {CLASSES[mark]}"),
        ]
        rows.append(
            element("tr", element("th", str(name), scope="row"), [element("td", cell) for cell in cells])
        )
    head = element("tr", element("td"), [element("th", name, scope="col") for name in names])
    explained = (
        f"The gate decides on the mean of the benchmarks by their weights, {gate.get('metric', 'greedy')}, "
        "mean over the modes; a benchmark of weight 0 is only reported. Differences are paired over problems."
    )
    return element(
        "section",
        element("h2", "Benchmarks"),
        element("p", explained, class_="caption"),
        element("div", element("table", element("thead", head), element("tbody", rows)), class_="wide"),
        id="benchmarks",
    )


def scores_section(table: Table) -> Markup:
    """Panels, the table with intervals, the large-number family, and all other groups collapsed."""
    metrics = table.metrics
    warnings = [element("p", line, class_="warning") for line in cautions(table)]
    large = LARGE_NUMBERS in table.groups
    wanted = [(metric, metric, "all") for metric in metrics]
    wanted += [("greedy, large numbers", "greedy", LARGE_NUMBERS)] if large else []
    panels = _panels(table, wanted)
    key = element(
        "p",
        element("span", "CoT", class_="key cot"),
        element("span", "TIR", class_="key tir"),
        " percent of problems answered correctly, with 95 % bootstrap intervals over problems",
        class_="caption",
    )
    body: list[Child] = [key, warnings, element("div", panels, class_="panels"), _grid(table, metrics, "all")]
    if large:
        body += [element("h3", "Large numbers"), _about_large(), _grid(table, metrics, LARGE_NUMBERS)]
    others = [group for group in table.groups if group not in ("all", LARGE_NUMBERS)]
    if others:
        body.append(
            element(
                "details",
                element("summary", "Greedy by group of problems"),
                _by_group(table, others),
            )
        )
    body.append(
        element(
            "p",
            " ".join(_explained(table)),
            class_="caption",
        )
    )
    return element(
        "section",
        element("h2", "Scores"),
        body,
        data_note("evaluation/results", "problems/benchmark"),
        id="scores",
    )


def _explained(table: Table) -> Iterator[str]:
    """The meaning of the scores in a table, one sentence each."""
    for name, strategy in STRATEGIES.items():
        if (metric := metric_name(name, table.k)) in table.metrics and strategy.needs != "greedy":
            yield f"{metric}: {strategy.summary}, of {table.k} samples, is correct."
    yield f"pass@{table.k}: at least one sample is correct."
    yield "Where all problems score 0, or all 1, the interval is the exact one (Clopper–Pearson)."


def _about_large() -> Markup:
    words = "The family whose arithmetic is too hard without a tool: here an interpreter should help most."
    return element("p", words, class_="caption")


def _role(role: str, model: str) -> str:
    return role if role.lower() == model else f"{role} ({label(model)})"


def _panels(table: Table, wanted: Sequence[tuple[str, str, str]]) -> list[Markup]:
    """A panel per (name, metric, group), all on one scale."""
    models = [model for model in _PLOTTED if model in table.models]
    panels = []
    for name, metric, group in wanted:
        series = [[table.get(model, mode, metric, group) for model in models] for mode in ("cot", "tir")]
        if any(score for one in series for score in one):
            panels.append((name, series))
    scores = [score for _, series in panels for one in series for score in one if score is not None]
    low = max(0.0, min((score.low for score in scores), default=0.0) - 0.05)
    high = min(1.0, max((score.high for score in scores), default=1.0) + 0.05)
    return [
        element("figure", element("figcaption", name), score_panel(name, models, series, low, high))
        for name, series in panels
    ]


def _grid(table: Table, metrics: Sequence[str], group: str) -> Markup:
    head = [element("th", metric, scope="col") for metric in metrics]
    bodies = []
    for model in table.models:
        rows = [_row(table, model, mode, metrics, group) for mode in table.modes]
        if any(rows):
            name = element("th", label(model), scope="rowgroup", colspan=len(metrics) + 1)
            bodies.append(element("tbody", element("tr", name, class_="model"), rows, class_=f"m-{model}"))
    problems = max((score.n for score in table.scores if score.group == group), default=0)
    caption = element(
        "caption", f"Percent of {count(problems)} problems answered correctly, with 95 % intervals"
    )
    columns = element("thead", element("tr", element("td"), head))
    return element("table", caption, columns, bodies, class_="scores")


def _row(table: Table, model: str, mode: str, metrics: Sequence[str], group: str) -> Markup | None:
    scores = [table.get(model, mode, metric, group) for metric in metrics]
    if not any(scores):
        return None
    return element("tr", element("th", label(mode), scope="row"), [_cell(score) for score in scores])


def _cell(score: Score | None) -> Markup:
    if score is None:
        return element("td", "–", class_="absent")
    low, high = score.low, score.high
    if low == high == 0.0:  # all problems are alike, which is no certainty
        high = unseen_share(score.n)
    elif low == high == 1.0:
        low = 1.0 - unseen_share(score.n)
    interval = f"{percent(low)}–{percent(high)}"
    return element(
        "td",
        element("b", percent(score.value)),
        " ",
        element("span", interval, class_="range"),
        interval_bar(score),
    )


def _group_name(kind: str, name: str) -> str:
    if kind == "language":
        return {"zh": "Chinese", "en": "English"}.get(name, name)
    if kind == "family":
        return title(name)
    return name if kind == "benchmark" else f"{title(kind)} {name}".rstrip()


def _by_group(table: Table, groups: Sequence[str]) -> Markup:
    columns = [
        (model, mode)
        for model in table.models
        for mode in table.modes
        if table.get(model, mode, "greedy") is not None
    ]
    head = [element("th", label(model), " ", label(mode), scope="col") for model, mode in columns]
    rows = []
    for group in groups:
        kind, _, name = group.partition(":")
        scores = [table.get(model, mode, "greedy", group) for model, mode in columns]
        number = next((score.n for score in scores if score is not None), 0)
        shown = _group_name(kind, name)
        cells = [
            element(
                "td",
                percent(score.value) if score else "–",
                title=f"{percent(score.low)} to {percent(score.high)}" if score else None,
            )
            for score in scores
        ]
        rows.append(element("tr", element("th", shown, scope="row"), element("td", count(number)), cells))
    top = element("tr", element("td"), element("th", "problems", scope="col"), head)
    return element("div", element("table", element("thead", top), element("tbody", rows)), class_="wide")
