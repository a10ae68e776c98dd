"""The paper's claims and what a round says of them: on the page and on the console."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from mathloop.evaluation import Ordering
from mathloop.evaluation.differences import Difference
from mathloop.reports.figures import count, difference_range, percent, points, title
from mathloop.reports.markup import Child, Markup, element

UNTESTED = "not tested"
"""A claim about a training stage that learned nothing: its two models are the same."""
CLASSES: dict[str, str] = {"holds": "right", "within noise": "open", "fails": "wrong", UNTESTED: "none"}
"""Mark → its class on the page."""


def claims_section(orderings: Sequence[Ordering], untrained: Mapping[str, str]) -> Markup:
    """The paper's claims, each with its mark, both scores, and the difference with its interval.

    `untrained` is training stages that learned nothing, with the reason.
    """
    rows = [claim_row(mark(one, untrained), one.claim, _values(one, untrained)) for one in orderings]
    explained = (
        "Scores are means over CoT and TIR, unless one is named. Beside them: the difference, paired over "
        "problems, with its 95 % interval. A claim holds if all of the interval is above zero, fails if all "
        "of it is below, and is within noise if it contains zero."
    )
    return element(
        "section",
        element("h2", "The paper's claims"),
        element("p", f"{_summary(orderings, untrained)} {explained}", class_="caption"),
        element("ul", rows, class_="claims"),
        id="claims",
    )


def print_claims(orderings: Sequence[Ordering], untrained: Mapping[str, str]) -> str:
    """The same as plain text, a line per claim; empty without claims."""
    lines = []
    for one in orderings:
        difference = one.difference
        shown = f"{points(difference.value)} [{points(difference.low)}, {points(difference.high)}]"
        shown += f" points on {count(difference.n)} problems"
        if difference.low == difference.high:
            shown += ", which differ alike: no certainty"
        if one.stage in untrained:
            shown = _untold(one)
        lines.append(f"{mark(one, untrained):<12}  {one.claim}: {shown}")
    head = "The paper's claims, with 95 % intervals paired over problems:"
    return "\n".join([head, *lines] if lines else [])


def mark(one: Ordering, untrained: Mapping[str, str]) -> str:
    """The claim's mark: holds, within noise, fails, or not tested."""
    return UNTESTED if one.stage in untrained else one.mark


def claim_row(mark: str, claim: str, values: Sequence[Child]) -> Markup:
    """An item of a list of the class `claims`; `values` as `compared` gives them."""
    return element(
        "li",
        element("span", mark, class_=f"mark {CLASSES[mark]}"),
        element("span", claim, class_="claim"),
        element("span", values, class_="values"),
    )


def compared(
    lesser: str, lesser_value: float, greater: str, greater_value: float, by: Difference
) -> list[Child]:
    """`base 27.7 → SFT 77.3: +49.7 (+44.2 to +55.2)`, from fractions."""
    return [
        f"{lesser} ",
        element("b", percent(lesser_value)),
        f" → {greater} ",
        element("b", percent(greater_value)),
        ": ",
        element("b", points(by.value)),
        f" ({difference_range(by.low, by.high, by.n, bare=True)})",
    ]


def _values(one: Ordering, untrained: Mapping[str, str]) -> list[Child]:
    if one.stage in untrained:
        return [_untold(one)]
    return compared(one.lesser, one.lesser_value, one.greater, one.greater_value, one.difference)


def _untold(one: Ordering) -> str:
    return f"{title(one.stage)} had nothing to learn from"


def _summary(orderings: Sequence[Ordering], untrained: Mapping[str, str]) -> str:
    counts = Counter(mark(one, untrained) for one in orderings)
    words = {
        "within noise": ("is within noise", "are within noise"),
        "fails": ("fails", "fail"),
        UNTESTED: ("is not tested", "are not tested"),
    }
    verb = "holds" if counts["holds"] == 1 else "hold"
    parts = [f"{counts['holds']} of {len(orderings)} claims {verb} in this round"]
    parts += [f"{counts[one]} {said[counts[one] > 1]}" for one, said in words.items() if counts[one]]
    return f"{', '.join(parts)}."
