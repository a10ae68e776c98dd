"""The answer to a question, finished and in the making."""

from __future__ import annotations

from dataclasses import dataclass

from mathloop.records import Response
from mathloop.serving.engines import Generation
from mathloop.serving.questions import Question
from mathloop.voting import Group


@dataclass(frozen=True)
class Answer:
    """The result of a question."""

    question: Question
    chosen: Group[Response]
    candidates: list[Group[Response]]
    """One per distinct answer: the chosen one first, then by the strategy's rank."""
    generation: Generation
    strategy: str
    """The one that chose; another than the question's if the answer is degraded."""
    degraded: tuple[str, ...]
    """What the answer lacks and why, one line each."""
    seconds: dict[str, float]
    """Wall time by part: queue, draw, reward, total."""

    @property
    def responses(self) -> list[Response]:
        """As many as the question asks for: the best of each candidate, then their others."""
        best = [candidate.best for candidate in self.candidates]
        others = [
            response
            for candidate in self.candidates
            for response in candidate.responses
            if response is not candidate.best
        ]
        return [*best, *others][: self.question.choices]


class Work:
    """An answer in the making."""

    def __init__(self, question: Question) -> None:
        self.question = question
        self.generation = Generation([], 0, 0, None)
        self.candidates: list[Group[Response]] = []
        self.lost: tuple[str, ...] = ()
        """Why there are no rewards."""
        self.rough: tuple[str, ...] = ()
        """Why equal answers may be apart."""
        self.seconds = {"queue": 0.0, "draw": 0.0, "reward": 0.0}

    @property
    def responses(self) -> list[Response]:
        """Those drawn so far."""
        return self.generation.responses

    @property
    def strategy(self) -> str:
        """The one that chooses."""
        return "maj" if self.lost else self.question.strategy

    def add(self, more: Generation) -> None:
        tokens = self.generation.completion_tokens + more.completion_tokens
        self.generation = Generation(
            [*self.responses, *more.responses],
            more.prompt_tokens,
            tokens,
            more.seed,
            None if more.logprobs is None else [*(self.generation.logprobs or []), *more.logprobs],
        )
