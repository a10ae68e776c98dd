"""Responses of one model to a shard of problems: drawn, verified and rewarded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from mathloop.evaluation.passes import GREEDY, Pass
from mathloop.records import Problem, Response
from mathloop.sampling.judging import judge
from mathloop.sampling.rewarding import Scorer
from mathloop.sampling.sampler import Sampler
from mathloop.stages import Progress

TOO_LONG = "the problem does not fit the model's context"
"""Reason of a response that was not drawn."""


def draw(
    sampler: Sampler,
    scorer: Scorer | None,
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
    scorer: Scorer | None,
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
            rewards = scorer(dialogues)
        at += len(responses)
        for rollout, response, reward in zip(rollouts, responses, rewards, strict=True):
            if reward is not None:
                response = replace(response, reward=reward)
            yield response, rollout.prompt_tokens


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
