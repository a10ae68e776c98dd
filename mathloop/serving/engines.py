"""The interface of engines, which draw and score responses. Cancelling a call stops its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mathloop.records import Mode, Response
from mathloop.serving.questions import Question
from mathloop.serving.token_logprobs import TokenLogprob


@dataclass(frozen=True)
class Generation:
    """Responses to one question, with their tokens and seed."""

    responses: list[Response]
    prompt_tokens: int
    completion_tokens: int
    """Sampled tokens of all responses."""
    seed: int | None
    """Reproduces the responses; None if they cannot be reproduced."""
    logprobs: list[list[TokenLogprob]] | None = None
    """Per response, its sampled tokens; None unless the question asks for them."""


class Engine(Protocol):
    """A policy and an optional reward model."""

    @property
    def name(self) -> str:
        """The models in words, such as "champion 2 (round 20261125-1954-4927)"."""
        ...

    @property
    def parallel(self) -> int:
        """Number of questions that it works on at the same time."""
        ...

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Modes that it supports."""
        ...

    @property
    def has_reward_model(self) -> bool: ...

    async def prepare(self) -> None:
        """Returns once it can answer; raises Refused with the reason while it cannot."""
        ...

    @property
    def scores_apart(self) -> bool:
        """Whether scoring takes nothing from drawing: others may draw meanwhile."""
        ...

    async def check(self) -> None:
        """Raises Refused while a part of it does not answer: the policy, the reward model, the sandbox."""
        ...

    async def draw(self, question: Question, begin: int, count: int) -> Generation:
        """Responses from number `begin` on, answers extracted, in order: the same for the same seed.

        Raises Refused if the problem is too long or a model does not answer.
        """
        ...

    async def rewards(self, question: Question, responses: Sequence[Response]) -> list[float]:
        """One reward (a finite logit) per response, in order."""
        ...

    async def close(self) -> None:
        """Frees its resources."""
        ...
