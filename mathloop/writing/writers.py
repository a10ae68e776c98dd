"""Writers: what draws the texts. A policy by a sampler here; `endpoint_writer` asks a server."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from mathloop.records import Mode, Problem
from mathloop.sampling.closing import Closing
from mathloop.sampling.sampler import Sampler

Finish = Literal["stop", "length", "refused"]
"""How a text ended: by itself, at the limit of tokens, or never begun since its prompt was refused."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a model wrote after a prompt."""

    text: str
    finish_reason: Finish = "stop"
    tokens: int = 0
    """0 where the writer does not say."""


class Writer(Closing, Protocol):
    """Draws one text per prompt. As a context manager it closes itself."""

    digest: str
    """Names the model: writers with equal digests write alike."""

    def write(
        self, prompts: Sequence[str], temperature: float, seed: int, mode: Mode = "cot"
    ) -> Iterator[list[tuple[int, Text]]]:
        """Yields (index of the prompt, its text), each once, in any order, as they may be kept together.

        What a local model draws depends on all prompts of the call, so that they are kept together. In mode
        tir the text's programs are run, and what they print is part of it; only a local model can.
        """
        ...


class SamplerWriter(Writer):
    """A policy that a sampler draws with."""

    def __init__(self, sampler: Sampler, digest: str) -> None:
        self._sampler, self.digest = sampler, digest

    def close(self) -> None:
        """Closes the sampler."""
        self._sampler.close()

    def write(
        self, prompts: Sequence[str], temperature: float, seed: int, mode: Mode = "cot"
    ) -> Iterator[list[tuple[int, Text]]]:
        """Yields all texts at once; a prompt that is too long for the model's context is refused."""
        asked = [Problem(id=str(number), problem=prompt) for number, prompt in enumerate(prompts)]
        fitting = [one for one in asked if self._sampler.fits(one, mode)]
        drawn = self._sampler.sample(fitting, mode=mode, samples=1, temperature=temperature, seed=seed)
        texts = {number: Text("", "refused") for number in range(len(prompts))}
        for one, rollout in zip(fitting, drawn, strict=True):
            ended = rollout.response.finish_reason
            texts[int(one.id)] = Text(
                rollout.response.text, "stop" if ended == "stop" else "length", rollout.response.tokens
            )
        yield list(texts.items())


def seed_of(keys: Sequence[bytes], seed: int) -> int:
    """A seed for texts that are drawn together, by what they are and the run's seed: below 2^31."""
    return int.from_bytes(hashlib.sha256(b"".join(keys) + str(seed).encode()).digest()[:4], "big") >> 1
