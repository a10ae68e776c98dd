"""A question's samples, as the continuous decoder is asked for them and draws them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from random import Random

import torch

from mathloop.sampling.decoding import Decoded, Tool
from mathloop.sampling.stopping import Stop
from mathloop.sampling.token_drawing import draw_greedily, draw_rows, likeliest_rows


@dataclass(eq=False)
class Draw:
    """Samples after one prompt, from number `first` on; `done` is called once, with the outcome."""

    prompt: tuple[int, ...]
    samples: int
    max_tokens: int
    temperature: float
    top_p: float
    seed: int
    done: Callable[[list[Decoded] | Exception], None]
    first: int = 0
    tool: Tool | None = None
    stop: Stop | None = None
    stopped: Callable[[], bool] = lambda: False
    """Whether nobody waits for it: it then leaves before the next step, and `done` is not called."""
    likeliest: int = 0
    """Tokens to note with their log-probabilities wherever one is drawn."""
    heard: Callable[[int, int], None] | None = None
    """Called with the place of each token and it, for one sample; from 0 again if it begins again."""
    finished: list[Decoded | None] = field(init=False)
    _to_call: list[Callable[[list[Decoded] | Exception], None]] = field(init=False)

    def __post_init__(self) -> None:
        self.finished = [None] * self.samples
        self._to_call = [self.done]

    @property
    def over(self) -> bool:
        """Whether it has had its outcome, or nobody waits for one."""
        return not self._to_call or self.stopped()

    def settle(self, outcome: list[Decoded] | Exception) -> None:
        """Calls `done`, the first time; from any thread."""
        with suppress(IndexError):  # pop is atomic, a flag would not be
            self._to_call.pop()(outcome)


@dataclass(eq=False)
class Row:
    """One sequence, from its start."""

    draw: Draw
    number: int
    sequence: Decoded = field(init=False)
    waiting: bool = False
    """For the interpreter."""
    output: str | None = None

    def __post_init__(self) -> None:
        self.sequence = Decoded(0)

    @cached_property
    def random(self) -> Random:
        """Its own numbers."""
        return Random(f"{self.draw.seed}/{self.draw.first + self.number}")

    @property
    def position(self) -> int:
        """Of its last token."""
        return len(self.draw.prompt) + len(self.sequence.tokens) - 1


def draw_next(rows: Sequence[Row], logits: torch.Tensor) -> tuple[list[int], list[float]]:
    """The next token of each row with its log-probability; notes the likeliest ones where they are wanted."""
    temperatures, temperature = [row.draw.temperature for row in rows], None
    if not any(temperatures):
        tokens, logprobs = draw_greedily(logits)
    else:
        if any(one != 1 for one in temperatures):
            temperature = torch.tensor(temperatures, device=logits.device)[:, None]
        top_p = None
        if any(row.draw.top_p < 1 for row in rows):
            top_p = torch.tensor([[row.draw.top_p] for row in rows], device=logits.device)
        numbers = [
            (row.random.random(), row.random.random()) if row.draw.temperature else (0.0, 0.0) for row in rows
        ]
        tokens, logprobs = draw_rows(logits, temperature, top_p, torch.tensor(numbers, device=logits.device))
    wanted = [row.draw.likeliest for row in rows]
    if any(wanted):
        for place, likeliest in likeliest_rows(wanted, logits, temperature).items():
            rows[place].sequence.likeliest.append(likeliest)
    return tokens.tolist(), logprobs.tolist()
