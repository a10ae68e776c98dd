"""Stage: CoT responses for SFT by rejection sampling (Paper §3.1.1).

With a gold answer, correct responses are kept; without one, those that reach the majority answer, with votes
weighted by the reward model once there is one. Of these, the k best by reward are kept, or the first k
distinct ones if there is no reward model yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mathloop.records import Drops, Problem, Response, open_drops, read_problems, write_responses
from mathloop.sampling.engines import load_sampler
from mathloop.sampling.judging import judge
from mathloop.sampling.rewarding import load_scorer
from mathloop.stages import Progress, StageReport, timed
from mathloop.synthesis.config import CoTConfig
from mathloop.synthesis.response_sampling import add_rewards, report_sample, sample_responses, that_fit
from mathloop.voting import choose, group_answers, share


@timed
def run(
    *,
    problems: Path,
    policy: Path,
    reward_model: Path | None,
    out: Path,
    config: CoTConfig,
    seed: int,
    dropped: Path | None = None,
) -> StageReport:
    """Writes the chosen Responses to `out`.

    Args:
        reward_model: None in a first round, which has none yet.
        dropped: becomes JSON lines of the other responses, each with its problem and why it was dropped.
    """
    read = list(read_problems(problems))
    scorer = load_scorer(reward_model, config.sampling.dtype)
    samples: list[dict[str, Any]] = []
    drawn = 0

    def chosen(drops: Drops) -> Iterator[Response]:
        nonlocal drawn
        for problem, responses in sample_responses(
            sampler,
            fitting,
            mode="cot",
            samples=config.samples,
            temperature=config.temperature,
            seed=seed,
            progress=progress,
        ):
            drawn += len(responses)
            if scorer is not None:
                responses = add_rewards(scorer, problem, responses)
            kept = select(
                problem,
                responses,
                drops,
                keep=config.keep,
                agreement=config.agreement,
                weighted=scorer is not None,
            )
            if len(samples) < 6 and responses:
                shown = kept[0] if kept else responses[0]
                samples.append(report_sample(problem, shown, "kept" if kept else "dropped"))
            yield from kept

    with open_drops(dropped) as drops, load_sampler(policy, config.sampling) as sampler:
        fitting = that_fit(sampler, read, "cot", drops)
        progress = Progress("cot", len(fitting) * config.samples, "responses")
        written = write_responses(out, chosen(drops))
    return StageReport(
        "cot",
        inputs=len(read),
        generated=drawn,
        kept=written,
        dropped=drops.counts,
        values=progress.speed,
        samples=samples,
    )


def select(
    problem: Problem,
    responses: list[Response],
    drops: Drops,
    *,
    keep: int,
    agreement: float,
    weighted: bool,
) -> list[Response]:
    """Returns at most `keep` responses to one problem for SFT to learn from; the others go to `drops`.

    Without a gold answer, the answer that wins a vote takes its place, if it wins at least the share
    `agreement`.

    Args:
        weighted: the responses have rewards, which weight the votes and rank the responses.
    """

    def drop(reason: str, response: Response) -> None:
        drops.add(reason, response, problem=problem.problem, gold=problem.answer)

    if problem.answer is None:
        presumed = majority_answer(responses, "weighted" if weighted else "maj", agreement)
        if presumed is None:
            for response in responses:
                drop("no majority", response)
            return []
        responses = [judge(presumed, response) for response in responses]
        wrong = "differs from the majority answer"
    else:
        wrong = "wrong answer"
    usable: dict[str, Response] = {}
    for response in responses:
        if not response.correct:
            drop(wrong, response)
        elif response.finish_reason != "stop":
            drop("truncated", response)
        elif response.text in usable:
            drop("duplicate of another response", response)
        else:
            usable[response.text] = response
    ranked = sorted(usable.values(), key=lambda r: -(r.reward or 0.0) if weighted else 0.0)
    for response in ranked[keep:]:
        drop("beyond the keep limit", response)
    return ranked[:keep]


def majority_answer(responses: Sequence[Response], strategy: str, agreement: float) -> str | None:
    """The answer that wins a vote; None if there is no answer or the winner's share is below `agreement`.

    Args:
        strategy: `maj` or `weighted`.
        agreement: least share of the votes, or of their weights, 0 to 1.
    """
    groups = group_answers(responses)
    if not groups:
        return None
    winner = choose(strategy, groups)
    return winner.answer if share(strategy, winner, groups) >= agreement else None
