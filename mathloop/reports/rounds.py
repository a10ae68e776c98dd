"""The rounds of a store: scores by champion, what each round changed, and the time and tokens it took."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mathloop.evaluation.differences import Difference, Mark
from mathloop.registry import Champion, Registry
from mathloop.reports.charts import curve_chart
from mathloop.reports.claims import CLASSES
from mathloop.reports.figures import count, difference_range, duration, percent, points, setting
from mathloop.reports.markup import Child, Markup, element
from mathloop.reports.page import page
from mathloop.reports.records import Record, compared_settings, incomplete_records, read_records
from mathloop.settings.flat import changes
from mathloop.storage import Store


@dataclass(frozen=True)
class Rounds:
    """What a store knows of its rounds."""

    url: str
    champions: list[Champion]
    records: list[Record]
    """In the order in which they were judged."""
    damaged: Mapping[str, str] = field(default_factory=dict)
    """Rounds whose record cannot be read, and is left out, with the reason."""

    def score(self, champion: Champion) -> float | None:
        """The champion's score when its round's gate measured it, 0 to 1; None if no record has it.

        A first model has no round: it is as the first round that started from it measured it.
        """
        for record in self.records:
            if record.number == champion.number:
                return _score(record.gate, "challenger")
        return next(
            (_score(one.gate, "champion") for one in self.records if one.parent == champion.number), None
        )


METRICS = 4
"""Metrics shown of a champion that no record has a score of."""


def read_rounds(store: Store, known: dict[str, Record] | None = None) -> Rounds:
    """Reads champions and every round's record, but for those in `known`; raises as `Registry.history`."""
    damaged = dict.fromkeys(incomplete_records(store), "its record has no manifest, so it is not complete")
    found = sorted(read_records(store, damaged, known), key=lambda one: one.created)
    return Rounds(store.url, Registry(store).history(), found, damaged)


def notes(rounds: Rounds) -> list[str]:
    """A line per round that is left out."""
    return [f"round {round_id} is left out: {reason}" for round_id, reason in rounds.damaged.items()]


def changed_settings(rounds: Rounds) -> dict[str, list[tuple[str, Any, Any]]]:
    """Round → (key, before, now) of each setting that differs from the round before; none for the first."""
    found: dict[str, list[tuple[str, Any, Any]]] = {}
    before: Record | None = None
    for record in rounds.records:
        one, other = (before or record).settings, record.settings
        found[record.round_id] = changes(compared_settings(one), compared_settings(other))
        before = record
    return found


def text(rounds: Rounds) -> str:
    """Plain text: champions, then rounds with what each changed."""
    lines = [f"champions of {rounds.url}:"]
    for champion in rounds.champions:
        score = rounds.score(champion)
        shown = "" if score is None else f"{percent(score)} %"
        line = f"{champion.number:3}  {champion.created[:16]}  {shown:>7}  {champion.round_id}"
        if score is None:
            metrics = list(champion.metrics.items())[:METRICS]
            line = f"{line}  {', '.join(f'{name} {value:.3g}' for name, value in metrics)}"
        lines.append(line.rstrip())
    if not rounds.champions:
        lines.append("none yet; mathloop run makes the first")
    lines += ["", "rounds, the oldest first:"]
    changed = changed_settings(rounds)
    for record in rounds.records:
        lines.append(
            f"{record.created[:16]}  {record.round_id}  {_outcome(record)}  {_difference(record.gate)}  "
            f"{duration(record.seconds)}, {count(record.tokens)} tokens"
        )
        lines += [f"      {line}" for line in record.nothing_learned]
        lines += [
            f"      {key}: {setting(old)} → {setting(new)}" for key, old, new in changed[record.round_id]
        ]
    if not rounds.records:
        lines.append("none with a record; rounds of this version leave one, promoted or not")
    return "\n".join(lines)


def to_json(rounds: Rounds) -> dict[str, Any]:
    """JSON's types: champions and rounds; scores and differences are fractions, times seconds."""
    changed = changed_settings(rounds)
    return {
        "store": rounds.url,
        "champions": [
            {
                "number": one.number,
                "created": one.created,
                "round": one.round_id,
                "policy": one.policy,
                "score": rounds.score(one),
            }
            for one in rounds.champions
        ],
        "rounds": [
            {
                "round": one.round_id,
                "created": one.created,
                "from": one.parent,
                "champion": one.number,
                "challenger_score": _score(one.gate, "challenger"),
                "champion_score": _score(one.gate, "champion"),
                **{name: one.gate.get(name) for name in ("metric", "difference", "low", "high", "n", "mark")},
                "seconds": one.seconds,
                "tokens": one.tokens,
                "nothing_learned": list(one.nothing_learned),
                "changed": [{"key": k, "before": b, "now": n} for k, b, n in changed[one.round_id]],
            }
            for one in rounds.records
        ],
    }


def html(rounds: Rounds) -> str:
    """One self-contained page."""
    spent = sum(one.seconds for one in rounds.records), sum(one.tokens for one in rounds.records)
    facts = f"Champions: {count(len(rounds.champions))}. Rounds: {count(len(rounds.records))}"
    header = element(
        "header",
        element("p", "mathloop · rounds", class_="eyebrow"),
        element("h1", rounds.url),
        element(
            "p",
            f"{facts}, with {duration(spent[0])} of stages and {count(spent[1])} tokens.",
            class_="reason",
        ),
    )
    return page(
        f"Rounds of {rounds.url}",
        header,
        {"champions": _champions(rounds), "rounds": _rounds_section(rounds)},
    )


def _champions(rounds: Rounds) -> Markup:
    scores = [(one, rounds.score(one)) for one in rounds.champions]
    curve = [(float(one.number), 100 * score) for one, score in scores if score is not None]
    rows = [
        element(
            "tr",
            element("th", str(one.number), scope="row"),
            element("td", "–" if score is None else percent(score)),
            element("td", one.created[:16].replace("T", " ")),
            element("td", one.round_id),
        )
        for one, score in scores
    ]
    head = element(
        "tr", [element("th", name, scope="col") for name in ("champion", "score", "since", "round")]
    )
    figure: Child = None
    if len(curve) > 1:
        caption = element("figcaption", "Percent right by champion")
        chart = curve_chart("percent right", curve, "Champions", axis="champion")
        figure = element("div", element("figure", caption, chart), class_="curves")
    explained = (
        "The score that the gate decides on, as the champion's own round measured it: rounds with other "
        "benchmarks cannot be compared by it; mathloop compare A B pairs problems."
    )
    table = element("table", element("thead", head), element("tbody", rows))
    return element(
        "section",
        element("h2", "Champions"),
        element("p", explained, class_="caption"),
        figure,
        element("div", table, class_="wide"),
        id="champions",
    )


def _rounds_section(rounds: Rounds) -> Markup:
    changed = changed_settings(rounds)
    names = ("round", "outcome", "challenger", "champion", "difference", "", "time", "tokens")
    head = element("tr", [element("th", name, scope="col") for name in names])
    bodies = [element("tbody", list(_round_rows(one, changed[one.round_id]))) for one in rounds.records]
    caption = "Each round with what its settings changed compared with the round before it."
    return element(
        "section",
        element("h2", "Rounds"),
        element("p", caption, class_="caption"),
        element("div", element("table", element("thead", head), bodies), class_="wide"),
        id="rounds",
    )


def _round_rows(record: Record, changed: Sequence[tuple[str, Any, Any]]) -> Iterator[Markup]:
    gate = record.gate
    sides = [_score(gate, side) for side in ("challenger", "champion")]
    found = _interval(gate)
    mark: Mark | None = found.mark(float(gate.get("margin", 0.0))) if found else None
    shown = "–"
    if found:
        shown = f"{points(found.value)} ({difference_range(found.low, found.high, found.n, bare=True)})"
    cells: list[Child] = [
        _outcome(record),
        *("–" if side is None else percent(side) for side in sides),
        shown,
        element("span", mark, class_=f"mark {CLASSES[mark]}") if mark else None,
        duration(record.seconds),
        count(record.tokens),
    ]
    yield element("tr", element("th", record.round_id, scope="row"), [element("td", cell) for cell in cells])
    notes = [
        *record.nothing_learned,
        *(f"{key}: {setting(b)} → {setting(n)}" for key, b, n in changed),
    ]
    for note in notes:
        yield element("tr", element("td"), element("td", note, colspan=7, class_="change"))


def _outcome(record: Record) -> str:
    if record.number is not None:
        return f"champion {record.number}"
    return "overtaken" if record.gate.get("promote") else "not promoted"


def _interval(gate: Mapping[str, Any]) -> Difference | None:
    numbers = [gate.get(name) for name in ("difference", "low", "high", "n")]
    if not all(isinstance(number, int | float) for number in numbers):
        return None
    value, low, high, n = (float(number or 0.0) for number in numbers)
    return Difference(value, low, high, round(n))


def _difference(gate: Mapping[str, Any]) -> str:
    found = _interval(gate)
    if found is None:
        return ""
    mark = found.mark(float(gate.get("margin", 0.0)))
    return f"{points(found.value)} [{points(found.low)}, {points(found.high)}] {mark}"


def _score(gate: Mapping[str, Any], side: str) -> float | None:
    one = gate.get(side)
    score = one.get("score") if isinstance(one, Mapping) else None
    return float(score) if isinstance(score, int | float) else None
