"""Sampled responses with verdicts and rewards, for all synthesis stages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mathloop.records import Drops, Mode, Problem, Response
from mathloop.sampling.judging import judge
from mathloop.sampling.rewarding import Scorer
from mathloop.sampling.sampler import Sampler
from mathloop.stages import Progress


def that_fit(sampler: Sampler, problems: Iterable[Problem], mode: Mode, drops: Drops) -> list[Problem]:
    """The problems whose prompts the model can read; the others go to `drops`, before anything is drawn."""
    fitting = []
    for problem in problems:
        if sampler.fits(problem, mode):
            fitting.append(problem)
        else:
            drops.add("too long for the model's context", problem)
    return fitting


def with_gold(problems: Iterable[Problem], drops: Drops) -> list[Problem]:
    """The problems with a gold answer; the others go to `drops`."""
    gradable = []
    for problem in problems:
        if problem.answer is None:
            drops.add("no gold answer", problem)
        else:
            gradable.append(problem)
    return gradable


def sample_responses(
    sampler: Sampler,
    problems: Sequence[Problem],
    *,
    mode: Mode,
    samples: int,
    temperature: float,
    seed: int,
    progress: Progress,
    first: int = 0,
) -> Iterator[tuple[Problem, list[Response]]]:
    """Yields each problem with its responses, verified if there is a gold answer.

    Args:
        progress: counts responses, of all the passes of a stage.
        first: number of a problem's first sample.
    """
    at = 0
    for rollouts in sampler.stream(problems, mode=mode, samples=samples, temperature=temperature, seed=seed):
        progress.update(len(rollouts), tokens=sum(r.response.tokens for r in rollouts))
        for start in range(0, len(rollouts), samples):
            problem = problems[at]
            at += 1
            yield (
                problem,
                [judge(problem.answer, r.response, later=first) for r in rollouts[start : start + samples]],
            )


def add_rewards(scorer: Scorer, problem: Problem, responses: Sequence[Response]) -> list[Response]:
    """The responses to a problem with their rewards."""
    rewards = scorer([(problem.problem, r.mode, r.text) for r in responses])
    return [replace(r, reward=reward) for r, reward in zip(responses, rewards, strict=True)]


def report_sample(problem: Problem, response: Response, decision: str) -> dict[str, Any]:
    """A row of `StageReport.samples`."""
    return {
        "problem": problem.problem,
        "gold": problem.answer,
        "response": response.text,
        "mode": response.mode,
        "correct": response.correct,
        "reward": response.reward,
        "decision": decision,
    }
