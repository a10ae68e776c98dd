"""What draws and scores responses. Engines are asked from an event loop; a cancelled call stops its work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from mathloop.records import Mode, Response
from mathloop.serving.questions import Question


@dataclass(frozen=True)
class Drawn:
    """Responses to one question, with what they cost."""

    responses: list[Response]
    prompt_tokens: int
    completion_tokens: int
    """Sampled tokens of all responses together."""
    seed: int | None
    """Draws the same again; None where nothing does."""


class Engine(Protocol):
    """Policy and, perhaps, reward model."""

    @property
    def name(self) -> str:
        """Which models answer, for people: "champion 2 (round 20261125-1954-4927)"."""
        ...

    @property
    def parallel(self) -> int:
        """Questions that it works on side by side."""
        ...

    @property
    def modes(self) -> tuple[Mode, ...]:
        """Modes that it can answer in."""
        ...

    @property
    def has_reward_model(self) -> bool: ...

    async def prepare(self) -> None:
        """Returns when it can answer; raises Refused, saying why, while it cannot."""
        ...

    async def draw(self, question: Question) -> Drawn:
        """`question.samples` responses, answers extracted, in order: the same for the same seed.

        Raises Refused where the problem is too long, or a model does not answer.
        """
        ...

    async def rewards(self, question: Question, responses: Sequence[Response]) -> list[float]:
        """A reward (a finite logit) for each response, in order."""
        ...

    async def close(self) -> None:
        """Frees what it holds."""
        ...
