"""Passes over a benchmark, and their shards of problems; importing them needs no torch.

A pass is one mode, greedy or sampled. A shard is what is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count, islice

from mathloop.evaluation.config import EvaluationConfig
from mathloop.records import Mode, Problem

SHARD = 4096
"""Responses of a shard: what is in memory, and what a killed evaluation draws again."""
GREEDY = -1
"""`Response.sample` of the greedy response."""

MODES: tuple[Mode, ...] = ("cot", "tir")


@dataclass(frozen=True)
class Pass:
    """All problems once, in one mode: greedily, or with several samples."""

    mode: Mode
    samples: int
    temperature: float

    @property
    def greedy(self) -> bool:
        """Whether it is the pass at temperature 0."""
        return self.temperature == 0

    @property
    def name(self) -> str:
        """`cot-greedy`, `tir-sampled`."""
        return f"{self.mode}-{'greedy' if self.greedy else 'sampled'}"

    @property
    def size(self) -> int:
        """Problems of a shard."""
        return max(1, SHARD // self.samples)


def passes_of(modes: Sequence[Mode], config: EvaluationConfig) -> list[Pass]:
    """Greedy decoding and k samples in each mode."""
    return [
        one for mode in modes for one in (Pass(mode, 1, 0.0), Pass(mode, config.samples, config.temperature))
    ]


def shards(problems: Iterable[Problem], one: Pass) -> Iterator[tuple[int, list[Problem]]]:
    """The problems of each shard of a pass, with the shard's number from 0."""
    stream = iter(problems)
    chunks = iter(lambda: list(islice(stream, one.size)), [])
    return zip(count(), chunks, strict=False)
