"""Sampled responses with verdicts and rewards, for all synthesis stages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mathloop.models.reward_model import RewardModel
from mathloop.records import Mode, Problem, Response
from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines import load_sampler
from mathloop.sampling.judging import judge
from mathloop.sampling.scoring import score
from mathloop.stages import Progress


def sample_responses(
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
    """Yields each problem with its responses, verified if there is a gold answer."""
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


def add_rewards(
    scorer: tuple[RewardModel, Any], problem: Problem, responses: Sequence[Response]
) -> list[Response]:
    """The responses to a problem with the rewards of a reward model, given with its tokenizer."""
    model, tokenizer = scorer
    rewards = score(model, tokenizer, [(problem.problem, r.mode, r.text) for r in responses])
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
