"""Stage: CoT responses for SFT by rejection sampling (Paper §3.1.1).

With a gold answer the right ones stay; without, those that reach the answer presumed by a vote, weighted by
the reward model once there is one. Of these the k best by reward stay; before any reward model, the first k
that differ.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mathloop.records import Problem, Response, read_problems, write_responses
from mathloop.sampling.judging import judge
from mathloop.sampling.scoring import RewardModel
from mathloop.sampling.voting import vote
from mathloop.stages import StageReport
from mathloop.synthesis.config import CoTConfig
from mathloop.synthesis.drawing import distinct, draw, scored, tell


def run(
    *, problems: Path, policy: Path, reward_model: Path | None, out: Path, config: CoTConfig, seed: int
) -> StageReport:
    """Writes the chosen Responses to `out`; `reward_model` is None in a first round."""
    started = time.monotonic()
    given = list(read_problems(problems))
    scorer = RewardModel.load(reward_model) if reward_model else None
    dropped: Counter[str] = Counter()
    samples: list[dict[str, Any]] = []
    drawn = 0

    def chosen() -> Iterator[Response]:
        nonlocal drawn
        for problem, responses in draw(
            policy,
            given,
            mode="cot",
            samples=config.samples,
            temperature=config.temperature,
            sampling=config.sampling,
            seed=seed,
            stage="cot",
        ):
            drawn += len(responses)
            if scorer is not None:
                ((problem, responses),) = scored(scorer, [(problem, responses)])
            kept = select(
                problem,
                responses,
                dropped,
                keep=config.keep,
                agreement=config.agreement,
                weighted=scorer is not None,
            )
            if len(samples) < 6 and responses:
                told = kept[0] if kept else responses[0]
                samples.append(tell(problem, told, "kept" if kept else "dropped"))
            yield from kept

    written = write_responses(out, chosen())
    return StageReport(
        "cot",
        time.monotonic() - started,
        taken=len(given),
        made=drawn,
        kept=written,
        dropped=dropped,
        samples=samples,
    )


def select(
    problem: Problem,
    responses: list[Response],
    dropped: Counter[str],
    *,
    keep: int,
    agreement: float,
    weighted: bool,
) -> list[Response]:
    """At most `keep` responses of one problem for SFT to learn from; counts the others in `dropped`.

    Without a gold answer it is presumed by a vote, which it must win with at least the share `agreement`.
    `weighted` says that the responses have rewards: these then weigh the votes and order what is kept.
    """
    if problem.answer is None:
        presumed, share = vote(responses, weighted=weighted)
        if presumed is None or share < agreement:
            dropped["no answer won the vote"] += len(responses)
            return []
        responses = [judge(presumed, response) for response in responses]
        wrong = "not the answer that won the vote"
    else:
        wrong = "wrong answer"
    reached = [r for r in responses if r.correct]
    dropped[wrong] += len(responses) - len(reached)
    right = [r for r in reached if r.finish_reason == "stop"]
    dropped["cut off"] += len(reached) - len(right)
    different = distinct(right)
    dropped["repeated text"] += len(right) - len(different)
    if weighted:
        different.sort(key=lambda r: -(r.reward or 0.0))
    dropped["past the k best"] += max(0, len(different) - keep)
    return different[:keep]
