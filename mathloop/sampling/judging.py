"""The verifier's verdict on a response, for all stages."""

from __future__ import annotations

from dataclasses import replace

from mathloop.answers import verify
from mathloop.records import Response


def judge(gold: str | None, response: Response) -> Response:
    """The response with a verdict on its extracted answer and the reason; unchanged without a gold answer."""
    if gold is None:
        return response
    if response.answer is None:
        return replace(response, correct=False, reason="no final answer")
    verdict = verify(gold, response.answer)
    return replace(response, correct=verdict.correct, reason=verdict.reason)
