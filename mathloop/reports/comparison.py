"""A comparison of two sets of responses as text, as JSON and as a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mathloop.evaluation.cautions import FEW, problems, small
from mathloop.evaluation.comparing import AVERAGE, BOTH_MODES, Change, Comparison, Row
from mathloop.records import Response
from mathloop.reports.claims import CLASSES
from mathloop.reports.figures import count, difference_range, label, percent, points, setting
from mathloop.reports.markup import Child, Markup, clip, element
from mathloop.reports.page import page
from mathloop.reports.samples import prose
from mathloop.settings.flat import changes

LISTED = 10
"""Fixed, and broken, problems that the text names; JSON has all of them."""
SHOWN = 100
"""The same of the page."""
_STATEMENT = 70


def text(comparison: Comparison) -> str:
    """Plain text: both names, the table of differences, changed problems, and settings that differ."""
    lines = [f"A  {comparison.a.name}", f"B  {comparison.b.name}", "", *_table(comparison.rows), ""]
    lines += [
        "Percent right; B minus A in points with its 95 % interval, paired over problems. It holds that B is "
        "above A if the whole interval is above zero, and fails if all of it is below.",
        *warnings(comparison),
    ]
    for fixed, name in ((True, "fixed"), (False, "broken")):
        found = [one for one in comparison.changed if one.fixed is fixed]
        lines += ["", f"{count(len(found))} {name} (greedy, by problem and mode){':' if found else ''}"]
        lines += [_changed_line(one) for one in found[:LISTED]]
        if len(found) > LISTED:
            lines.append(f"  … and {count(len(found) - LISTED)} more: --json or --out page.html shows them")
    different = changes(comparison.a.settings, comparison.b.settings)
    lines += ["", "Settings that differ (A → B):" if different else "No settings differ."]
    lines += [f"  {key}: {setting(one)} → {setting(other)}" for key, one, other in different]
    return "\n".join(lines)


def to_json(comparison: Comparison) -> dict[str, Any]:
    """JSON's types: a, b, k, scores (fractions), changed problems, settings, warnings."""
    return {
        "a": comparison.a.name,
        "b": comparison.b.name,
        "k": comparison.k,
        "scores": [
            {
                "benchmark": row.benchmark,
                "mode": row.mode,
                "metric": row.metric,
                "a": row.a,
                "b": row.b,
                "difference": row.difference.value,
                "low": row.difference.low,
                "high": row.difference.high,
                "problems": row.difference.n,
                "mark": row.difference.mark(),
            }
            for row in comparison.rows
        ],
        "changed": [
            {
                "problem_id": one.problem.id,
                "change": "fixed" if one.fixed else "broken",
                "mode": one.mode,
                "problem": one.problem.problem,
                "gold": one.problem.answer,
                "a": one.before and one.before.answer,
                "b": one.after and one.after.answer,
            }
            for one in comparison.changed
        ],
        "settings": [
            {"key": key, "a": one, "b": other}
            for key, one, other in changes(comparison.a.settings, comparison.b.settings)
        ],
        "warnings": warnings(comparison),
    }


def html(comparison: Comparison) -> str:
    """One self-contained page."""
    names = comparison.a.name, comparison.b.name
    header = element(
        "header",
        element("p", "mathloop · comparison", class_="eyebrow"),
        element("h1", "B compared with A"),
        element("p", element("b", "A"), f" {names[0]}", class_="reason"),
        element("p", element("b", "B"), f" {names[1]}", class_="reason"),
        [element("p", line, class_="warning") for line in warnings(comparison)],
    )
    sections: dict[str, Markup | None] = {"differences": _differences(comparison.rows)}
    for fixed, name in ((True, "fixed"), (False, "broken")):
        sections[name] = _changed_section([one for one in comparison.changed if one.fixed is fixed], name)
    sections["settings"] = _settings(changes(comparison.a.settings, comparison.b.settings))
    return page(f"{names[0]} and {names[1]}", header, sections)


def warnings(comparison: Comparison) -> list[str]:
    """What is not complete, what the comparison left out, and what few problems cannot show."""
    lines = [
        f"{name} is not complete: each score is over the problems that both sides drew for it; "
        "the same `mathloop evaluate` resumes it."
        for name, side in (("A", comparison.a), ("B", comparison.b))
        if not side.complete
    ]
    for side, only in zip(("A", "B"), comparison.only, strict=True):
        if only:
            lines.append(f"{problems(only)} of {side} alone {'is' if only == 1 else 'are'} left out.")
    sizes: dict[str, int] = {}
    for row in comparison.rows:
        if row.metric == "greedy" and row.benchmark != AVERAGE and row.mode != BOTH_MODES:
            sizes[row.benchmark] = max(row.difference.n, sizes.get(row.benchmark, 0))
    lines += [small(name, n) for name, n in sizes.items() if n < FEW]
    if any(row.difference.low == row.difference.high for row in comparison.rows):
        lines.append("An interval without width is no certainty: there, all problems differ alike.")
    return lines


def _table(rows: Sequence[Row]) -> list[str]:
    cells = [["benchmark", "", "problems", "A", "B", "B − A", "", ""]]
    for row in rows:
        shown = row.difference
        interval = f"[{points(shown.low)}, {points(shown.high)}]"
        cells.append(
            [
                row.benchmark,
                f"{_mode(row.mode)} {row.metric}",
                count(shown.n),
                percent(row.a),
                percent(row.b),
                points(shown.value),
                interval,
                shown.mark(),
            ]
        )
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    left = (0, 1, 7)
    return [
        "  ".join(
            cell.ljust(width) if column in left else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]


def _mode(name: str) -> str:
    return "mean of modes" if name == BOTH_MODES else label(name)


def _changed_line(one: Change) -> str:
    statement = " ".join(one.problem.problem.split())
    statement = statement if len(statement) <= _STATEMENT else f"{statement[:_STATEMENT]}…"
    shown = f"gold {one.problem.answer}: {_answer(one.before)} → {_answer(one.after)}"
    return f"  {label(one.mode)}  {one.problem.id}  {shown}  {statement}".rstrip()


def _answer(response: Response | None) -> str:
    if response is None:
        return "no response"
    return "no answer" if response.answer is None else clip(" ".join(response.answer.split()), 60)


def _differences(rows: Sequence[Row]) -> Markup:
    names = ("", "problems", "A", "B", "B − A", "95 % interval", "B above A")
    head = element("tr", element("td"), [element("th", name, scope="col") for name in names])
    explained = (
        "Percent of problems right; B minus A in points, paired over problems. It holds that B is above A if "
        "the whole interval is above zero, fails if all of it is below, and is within noise otherwise."
    )
    return element(
        "section",
        element("h2", "Differences"),
        element("p", explained, class_="caption"),
        element(
            "div",
            element("table", element("thead", head), element("tbody", list(map(_row, rows)))),
            class_="wide",
        ),
        id="differences",
    )


def _row(row: Row) -> Markup:
    shown = row.difference
    mark = shown.mark()
    cells: list[Child] = [
        f"{_mode(row.mode)} {row.metric}",
        count(shown.n),
        percent(row.a),
        percent(row.b),
        points(shown.value),
        difference_range(shown.low, shown.high, shown.n, bare=True),
        element("span", mark, class_=f"mark {CLASSES[mark]}"),
    ]
    return element("tr", element("th", row.benchmark, scope="row"), [element("td", cell) for cell in cells])


def _changed_section(found: Sequence[Change], name: str) -> Markup | None:
    if not found:
        return None
    words = "wrong in A and right in B" if name == "fixed" else "right in A and wrong in B"
    intro = f"{count(len(found))} greedy answers, by problem and mode, that are {words}."
    if len(found) > SHOWN:
        intro += f" The first {SHOWN} are shown; mathloop compare --json lists all."
    return element(
        "section",
        element("h2", name.capitalize()),
        element("p", intro, class_="caption"),
        [_card(one) for one in found[:SHOWN]],
        id=name,
    )


def _card(one: Change) -> Markup:
    ending = f"{label(one.mode)} · {one.problem.id} · gold {clip(str(one.problem.answer))}"
    return element(
        "article",
        element("p", clip(one.problem.problem, 2_000), class_="problem", dir="auto"),
        element("div", list(_sides(one)), class_="cards"),
        element("p", ending, class_="caption"),
        lang=one.problem.language,
    )


def _sides(one: Change) -> Iterator[Markup]:
    for side, response, right in (("A", one.before, not one.fixed), ("B", one.after, one.fixed)):
        verdict = "right" if right else "wrong"
        badge = element("span", verdict, class_=f"mark {verdict}")
        answer = element("p", element("b", side), " ", badge, f" {_answer(response)}")
        written = prose(response.text) if response is not None and response.text else None
        yield element("div", answer, written)


def _settings(different: Sequence[tuple[str, Any, Any]]) -> Markup:
    rows = [
        element("tr", element("th", key, scope="row"), element("td", setting(a)), element("td", setting(b)))
        for key, a, b in different
    ]
    head = element("tr", [element("th", name, scope="col") for name in ("setting", "A", "B")])
    body: Child = element("p", "No settings differ.", class_="caption")
    if rows:
        table = element("table", element("thead", head), element("tbody", rows))
        body = element("div", table, class_="wide")
    return element("section", element("h2", "Settings that differ"), body, id="settings")
