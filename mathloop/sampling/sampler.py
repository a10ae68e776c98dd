"""What every sampler does: it draws responses of one model, and can take other weights and leave the GPU."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mathloop.records import Mode, Problem, Response
from mathloop.sampling.closing import Closing

if TYPE_CHECKING:
    from torch import Tensor

    from mathloop.sampling.config import SamplingConfig


@dataclass
class Rollout:
    """A response with the tokens that it was decoded from, for a trainer."""

    response: Response
    prompt_tokens: list[int]
    tokens: list[int]
    logprobs: list[float]
    sampled: list[bool]
    """False where the interpreter wrote the token."""


def leaves_room(prompt: int, max_tokens: int, context: int | None) -> bool:
    """Whether a prompt leaves room for a response, or for half of a context that is shorter than one.

    Args:
        prompt: its tokens.
        max_tokens: the longest response's tokens.
        context: tokens that the model can read; None if it has no limit.
    """
    return context is None or prompt + min(max_tokens, context // 2) <= context


class Sampler(Closing, Protocol):
    """Draws responses of one model. As a context manager it closes itself; `engines` makes one."""

    config: SamplingConfig
    """What the next `stream` goes by: prompt, stop texts and limits may be others than when it was made."""

    def sample(
        self, problems: Sequence[Problem], *, mode: Mode, samples: int, temperature: float, seed: int
    ) -> list[Rollout]:
        """`samples` rollouts per problem, in order. A pure function of its arguments and the weights."""
        return [
            rollout
            for group in self.stream(problems, mode=mode, samples=samples, temperature=temperature, seed=seed)
            for rollout in group
        ]

    def stream(
        self,
        problems: Sequence[Problem],
        *,
        mode: Mode,
        samples: int,
        temperature: float,
        seed: int,
        first: int = 0,
    ) -> Iterator[list[Rollout]]:
        """The same rollouts as they are done, in order: all those of one or more problems at a time.

        `first`: index of the first problem among those of a sampling that several samplers share. They draw
        what one would if each begins where one would begin a batch.
        """
        ...

    def fits(self, problem: Problem, mode: Mode) -> bool:
        """Whether the problem's prompt leaves room for a response in the model's context."""
        ...

    def take_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Draws with these weights from now on: all of the model's, named as in its folder.

        They are copied, from memory, unless the sampler draws with the trainer's own network.
        """
        ...

    def sleep(self) -> None:
        """Leaves a GPU's memory to others until it is to draw or to take weights."""
        ...

    def wake(self) -> None:
        """Takes that memory again, ahead of need."""
        ...
