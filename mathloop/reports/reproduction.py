"""The report of a reproduction over its seeds: as text, as JSON and as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from mathloop.evaluation.reproduction import Finding, SeedScores, check_claims, mean_scores
from mathloop.reports.claims import claim_row, compared
from mathloop.reports.figures import count, duration, percent, points
from mathloop.reports.markup import Child, Markup, element
from mathloop.reports.page import page

_FEW_SEEDS = 2


def text(seeds: Sequence[SeedScores]) -> str:
    """Plain text: a line per claim and benchmark, mean scores, and notes."""
    lines = [_head(seeds), ""]
    for one in check_claims(seeds):
        shown = one.difference
        lines.append(
            f"{shown.mark():<12}  {one.benchmark}: {one.claim}: {points(shown.value)} "
            f"[{points(shown.low)}, {points(shown.high)}]  ({one.lesser} {percent(one.lesser_value)}, "
            f"{one.greater} {percent(one.greater_value)}; {count(shown.n)} problems, {_seeds(one.seeds)})"
        )
    lines += ["", "Percent right, means over seeds and over CoT and TIR:"]
    for (benchmark, model), metrics in mean_scores(seeds).items():
        values = ", ".join(f"{name} {percent(value)}" for name, value in metrics.items())
        lines.append(f"  {benchmark}  {model}: {values}")
    return "\n".join([*lines, "", *_notes(seeds)])


def to_json(seeds: Sequence[SeedScores]) -> dict[str, Any]:
    """JSON's types: seeds, claims (fractions, with marks), scores, tokens, seconds, notes."""
    return {
        "seeds": [one.seed for one in seeds],
        "profile": seeds[0].profile,
        "claims": [
            {
                "claim": one.claim,
                "benchmark": one.benchmark,
                "lesser": one.lesser,
                "lesser_value": one.lesser_value,
                "greater": one.greater,
                "greater_value": one.greater_value,
                "difference": one.difference.value,
                "low": one.difference.low,
                "high": one.difference.high,
                "problems": one.difference.n,
                "seeds": one.seeds,
                "mark": one.difference.mark(),
            }
            for one in check_claims(seeds)
        ],
        "scores": [
            {"benchmark": benchmark, "model": model, **metrics}
            for (benchmark, model), metrics in mean_scores(seeds).items()
        ],
        "tokens": {str(one.seed): one.tokens for one in seeds},
        "seconds": {str(one.seed): one.seconds for one in seeds},
        "notes": _notes(seeds),
    }


def html(seeds: Sequence[SeedScores]) -> str:
    """One self-contained page."""
    findings = check_claims(seeds)
    header = element(
        "header",
        element("p", "mathloop · reproduction", class_="eyebrow"),
        element("h1", "The model writes its own training data"),
        element("p", _head(seeds), class_="reason"),
        [element("p", line, class_="warning") for line in _notes(seeds)],
    )
    sections: dict[str, Markup | None] = {
        "claims": _claims(findings),
        "scores": _scores(seeds),
        "stages": _parts(seeds),
    }
    return page("Reproduction", header, sections)


def _head(seeds: Sequence[SeedScores]) -> str:
    named = ", ".join(str(one.seed) for one in seeds)
    marks = Counter(one.difference.mark() for one in check_claims(seeds))
    counts = f"{marks['holds']} hold, {marks['within noise']} are within noise, {marks['fails']} fail"
    return (
        f"The paper's claims with profile {seeds[0].profile}, seed{'s' if len(seeds) > 1 else ''} {named}: "
        f"{counts}. Intervals (95 %) are over {'seeds and ' if len(seeds) > 1 else ''}problems."
    )


def _notes(seeds: Sequence[SeedScores]) -> list[str]:
    lines = [f"Seed {one.seed}: {note}" for one in seeds for note in one.notes]
    if len(seeds) < _FEW_SEEDS:
        lines.append("One seed: another one may differ by more than the intervals, which are over problems.")
    if any(one.difference.low == one.difference.high for one in check_claims(seeds)):
        lines.append("An interval without width is no certainty: there, all problems differ alike.")
    return lines


def _seeds(number: int) -> str:
    return f"{number} seed{'s' if number > 1 else ''}"


def _claims(findings: Sequence[Finding]) -> Markup:
    explained = (
        "Greedy scores unless a metric is named, in percent, as means over CoT and TIR; the difference in "
        "points, paired over problems and resampled over seeds and problems, with its 95 % interval. A claim "
        "holds if all of the interval is above zero, fails if all of it is below, and is within noise if it "
        "contains zero."
    )
    lists: list[Markup] = []
    for benchmark in dict.fromkeys(one.benchmark for one in findings):
        own = [one for one in findings if one.benchmark == benchmark]
        problems = count(max(one.difference.n for one in own))
        rows = [
            claim_row(
                one.difference.mark(),
                one.claim,
                compared(one.lesser, one.lesser_value, one.greater, one.greater_value, one.difference),
            )
            for one in own
        ]
        lists += [element("h3", f"{benchmark}, {problems} problems"), element("ul", rows, class_="claims")]
    return _section("claims", "The paper's claims", explained, lists)


def _scores(seeds: Sequence[SeedScores]) -> Markup:
    means = mean_scores(seeds)
    tables: list[Markup] = []
    for benchmark in dict.fromkeys(benchmark for benchmark, _ in means):
        own = {model: row for (named, model), row in means.items() if named == benchmark}
        metrics = list(dict.fromkeys(name for row in own.values() for name in row))
        rows = [
            (model, [percent(row[name]) if name in row else "" for name in metrics])
            for model, row in own.items()
        ]
        tables += [element("h3", benchmark), _table("model", metrics, rows)]
    about = "Percent of problems right, means over seeds and over CoT and TIR."
    return _section("scores", "Scores", about, tables)


def _parts(seeds: Sequence[SeedScores]) -> Markup:
    parts = list(dict.fromkeys(name for one in seeds for name in one.seconds))
    rows: list[tuple[str, Sequence[Child]]] = [
        (
            part,
            [
                *(duration(one.seconds[part]) if part in one.seconds else "" for one in seeds),
                *(count(one.tokens[part]) if part in one.tokens else "" for one in seeds),
            ],
        )
        for part in parts
    ]
    names = [*(f"seed {one.seed}" for one in seeds), *(f"tokens, seed {one.seed}" for one in seeds)]
    about = "Time that each part's stages took, and tokens that each pretraining trained on."
    return _section("stages", "Parts", about, [_table("part", names, rows)])


def _table(first: str, names: Sequence[str], rows: Sequence[tuple[str, Sequence[Child]]]) -> Markup:
    head = element("tr", [element("th", one, scope="col") for one in (first, *names)])
    body = [
        element("tr", element("th", key, scope="row"), [element("td", cell) for cell in cells])
        for key, cells in rows
    ]
    return element("div", element("table", element("thead", head), element("tbody", body)), class_="wide")


def _section(name: str, heading: str, about: str, content: Sequence[Markup]) -> Markup:
    return element("section", element("h2", heading), element("p", about, class_="caption"), content, id=name)
