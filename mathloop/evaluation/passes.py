"""Responses of one model to a benchmark: drawn, verified and rewarded, one shard of problems at a time.

A pass is one mode, greedy or sampled. Nothing here holds more than a shard.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from typing import Any

from mathloop.evaluation.config import EvaluationConfig
from mathloop.models.reward_model import RewardModel
from mathloop.records import Mode, Problem, Response
from mathloop.sampling.judging import judge
from mathloop.sampling.sampler import Sampler
from mathloop.sampling.scoring import score
from mathloop.stages import Progress

SHARD = 4096
"""Responses of a shard: what is in memory, and what a killed evaluation draws again."""
TOO_LONG = "the problem does not fit the model's context"
"""Reason of a response that was not drawn."""
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


def draw(
    sampler: Sampler,
    scorer: tuple[RewardModel, Any] | None,
    problems: Sequence[Problem],
    one: Pass,
    *,
    label: str,
    seed: int,
    shard: int,
    progress: Progress,
) -> Iterator[tuple[Problem, Response, list[int]]]:
    """Yields each response of a shard with its problem and the tokens of its prompt, problem by problem.

    Responses have verdict, reward (None without `scorer`) and `label` as their model. A problem that does not
    fit the model's context is not drawn: its responses are empty and wrong, and say so.
    """
    fitting = [problem for problem in problems if sampler.fits(problem, one.mode)]
    # Shard 0 draws what a benchmark of one shard always drew.
    stream = sampler.stream(
        fitting,
        mode=one.mode,
        samples=one.samples,
        temperature=one.temperature,
        seed=seed + 15_485_863 + 32_452_843 * shard,
    )
    drawn = _drawn(stream, scorer, fitting, one, progress) if fitting else iter(())
    fits = {problem.id for problem in fitting}
    for problem in problems:
        for sample in range(one.samples):
            if problem.id in fits:
                response, prompt = next(drawn)
                response = judge(problem.answer, response)
            else:
                response, prompt = _not_drawn(problem, one, sample), []
                progress.update()
            number = GREEDY if one.greedy else response.sample
            yield problem, replace(response, model=label, sample=number), prompt


def _drawn(
    stream: Iterator[list[Any]],
    scorer: tuple[RewardModel, Any] | None,
    problems: Sequence[Problem],
    one: Pass,
    progress: Progress,
) -> Iterator[tuple[Response, list[int]]]:
    at = 0
    for rollouts in stream:
        responses = [rollout.response for rollout in rollouts]
        progress.update(len(rollouts), tokens=sum(response.tokens for response in responses))
        rewards: Sequence[float | None] = [None] * len(responses)
        if scorer is not None:
            sources = [problems[(at + index) // one.samples] for index in range(len(responses))]
            dialogues = [(p.problem, one.mode, r.text) for p, r in zip(sources, responses, strict=True)]
            rewards = score(*scorer, dialogues)
        at += len(responses)
        for rollout, response, reward in zip(rollouts, responses, rewards, strict=True):
            yield replace(response, reward=reward), rollout.prompt_tokens


def _not_drawn(problem: Problem, one: Pass, sample: int) -> Response:
    return Response(
        problem_id=problem.id,
        sample=sample,
        mode=one.mode,
        text="",
        correct=None if problem.answer is None else False,
        reason=TOO_LONG,
        finish_reason="length",
        temperature=one.temperature,
    )
