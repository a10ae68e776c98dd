"""Majority votes over final answers, plain or weighted by a reward model (Paper §3.1.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mathloop.answers import verify
from mathloop.records import Response


def vote(responses: Sequence[Response], *, weighted: bool = False) -> tuple[str | None, float]:
    """The winning answer and its share of the vote; (None, 0) where nobody answered.

    Equal answers are put together by the verifier. Weights are sigmoids of the rewards. A tie goes to the
    answer that came first.
    """
    totals: dict[str, float] = {}
    for response in responses:
        if response.answer is None:
            continue
        # σ(reward), without exp's overflow.
        weight = 0.5 + 0.5 * math.tanh(0.5 * (response.reward or 0.0)) if weighted else 1.0
        same = next((a for a in totals if a == response.answer or verify(a, response.answer).correct), None)
        totals[same or response.answer] = totals.get(same or response.answer, 0.0) + weight
    if not totals:
        return None, 0.0
    winner = max(totals, key=lambda answer: totals[answer])
    return winner, totals[winner] / sum(totals.values())
