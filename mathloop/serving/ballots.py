"""Responses put together by their final answers, and the choice among them.

    greedy  the one response
    maj     the answer that most responses give; those without an answer do not vote (maj@n)
    rm      the response with the highest reward; one without an answer only where none has one (rm@n)

Ties go to what was drawn first, as in the evaluation's scores. The vote that rewards weigh is shown beside
them and decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mathloop.answers import verify
from mathloop.records import Response
from mathloop.serving.questions import Strategy


@dataclass
class Candidate:
    """One final answer, and the responses that give it."""

    answer: str | None
    """As the first of its responses wrote it; None gathers the responses without one."""
    responses: list[Response]

    @property
    def votes(self) -> int:
        return 0 if self.answer is None else len(self.responses)

    @property
    def weighted_votes(self) -> float | None:
        """Sum of σ(reward); None where nothing was rewarded."""
        rewards = [response.reward for response in self.responses if response.reward is not None]
        if not rewards:
            return None
        # σ(reward), without exp's overflow.
        return 0.0 if self.answer is None else sum(0.5 + 0.5 * math.tanh(0.5 * reward) for reward in rewards)

    @property
    def best(self) -> Response:
        """Its response with the highest reward, or its first."""
        return max(self.responses, key=_reward)  # max keeps the first of equals


def tally(responses: Sequence[Response]) -> list[Candidate]:
    """Equal answers together, by the verifier; in the order in which they were drawn, None among them."""
    candidates: list[Candidate] = []
    for response in responses:
        for candidate in candidates:
            if _same(candidate.answer, response.answer):
                candidate.responses.append(response)
                break
        else:
            candidates.append(Candidate(response.answer, [response]))
    return candidates


def choose(candidates: Sequence[Candidate], strategy: Strategy) -> Candidate:
    """The candidate that answers the question; its `best` response is the reply."""
    answered = [candidate for candidate in candidates if candidate.answer is not None] or candidates
    if strategy == "rm":
        return max(answered, key=lambda candidate: _reward(candidate.best))
    return max(answered, key=lambda candidate: candidate.votes)


def _same(one: str | None, other: str | None) -> bool:
    return one == other or (one is not None and other is not None and verify(one, other).correct)


def _reward(response: Response) -> float:
    return -math.inf if response.reward is None else response.reward
