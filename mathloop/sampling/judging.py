"""The verifier's verdict on a response, for all stages."""

from __future__ import annotations

from dataclasses import fields
from operator import attrgetter

from mathloop.answers import verify
from mathloop.records import Response

_VALUES = attrgetter(*(field.name for field in fields(Response)))
"""All at once and by position, since `dataclasses.replace` takes twice the time, a third of a judgment."""


def judge(gold: str | None, response: Response, *, later: int = 0) -> Response:
    """The response with a verdict on its extracted answer and the reason; without one if `gold` is None.

    Args:
        later: is added to its number among the samples of its problem.
    """
    correct, reason = response.correct, response.reason
    if gold is None:
        if not later:
            return response
    elif response.answer is None:
        correct, reason = False, "no final answer"
    else:
        verdict = verify(gold, response.answer)
        correct, reason = verdict.correct, verdict.reason
    problem_id, sample, mode, text, answer, _, _, *others = _VALUES(response)
    return Response(problem_id, sample + later, mode, text, answer, correct, reason, *others)
