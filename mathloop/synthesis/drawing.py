"""Draws responses and puts verdicts and rewards on them; what all synthesis stages share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mathloop.records import Mode, Problem, Response
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.judging import judge
from mathloop.sampling.sampler import load_sampler
from mathloop.sampling.scoring import RewardModel, score
from mathloop.stages import Progress


def draw(
    policy: Path,
    problems: Sequence[Problem],
    *,
    mode: Mode,
    samples: int,
    temperature: float,
    sampling: SamplingConfig,
    seed: int,
    stage: str,
) -> Iterator[tuple[Problem, list[Response]]]:
    """Yields each problem with its responses, verified where there is a gold answer."""
    progress = Progress(stage, len(problems) * samples, "responses")
    with load_sampler(policy, sampling) as sampler:
        at = 0
        for rollouts in sampler.stream(
            problems, mode=mode, samples=samples, temperature=temperature, seed=seed
        ):
            progress.update(len(rollouts), tokens=sum(r.response.tokens for r in rollouts))
            for start in range(0, len(rollouts), samples):
                problem = problems[at]
                at += 1
                yield problem, [judge(problem.answer, r.response) for r in rollouts[start : start + samples]]


def scored(
    scorer: tuple[RewardModel, Any], drawn: Sequence[tuple[Problem, list[Response]]]
) -> list[tuple[Problem, list[Response]]]:
    """The same with rewards."""
    model, tokenizer = scorer
    dialogues = [(problem.problem, r.mode, r.text) for problem, responses in drawn for r in responses]
    rewards = iter(score(model, tokenizer, dialogues))
    return [(problem, [replace(r, reward=next(rewards)) for r in responses]) for problem, responses in drawn]


def tell(problem: Problem, response: Response, decision: str) -> dict[str, Any]:
    """A sample for the report."""
    return {
        "problem": problem.problem,
        "gold": problem.answer,
        "response": response.text,
        "mode": response.mode,
        "correct": response.correct,
        "reward": response.reward,
        "decision": decision,
    }
