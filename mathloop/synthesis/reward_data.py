"""Stage: responses of the SFT model, labeled correct or not, for the reward model (Paper §3.2)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mathloop.records import Mode, Problem, Response, open_drops, read_problems, write_responses
from mathloop.sampling.engines import load_sampler
from mathloop.stages import Progress, StageReport, timed
from mathloop.synthesis.config import RewardDataConfig
from mathloop.synthesis.response_sampling import sample_responses, that_fit, with_gold


@timed
def run(
    *,
    problems: Path,
    policy: Path,
    out: Path,
    config: RewardDataConfig,
    seed: int,
    dropped: Path | None = None,
) -> StageReport:
    """Writes every response to every problem with a gold answer; CoT and TIR problems alternate.

    Args:
        dropped: becomes JSON lines of the problems without a gold answer, or too long for the model.
    """
    read = list(read_problems(problems))
    right = made = 0

    def responses() -> Iterator[Response]:
        nonlocal right, made
        for mode, half in halves:
            for _, sampled in sample_responses(
                sampler,
                half,
                mode=mode,
                samples=config.samples,
                temperature=config.temperature,
                seed=seed + 104_729,
                progress=progress,
            ):
                made += len(sampled)
                right += sum(bool(r.correct) for r in sampled)
                yield from sampled

    with open_drops(dropped) as drops, load_sampler(policy, config.sampling) as sampler:
        gradable = with_gold(read, drops)
        asked: tuple[tuple[Mode, list[Problem]], ...] = (("cot", gradable[::2]), ("tir", gradable[1::2]))
        halves = [(mode, that_fit(sampler, half, mode, drops)) for mode, half in asked]
        total = config.samples * sum(len(half) for _, half in halves)
        progress = Progress("reward_data", total, "responses")
        written = write_responses(out, responses())
    return StageReport(
        "reward_data",
        inputs=len(read),
        generated=made,
        kept=written,
        dropped=drops.counts,
        values={"share of right responses": right / max(1, made), **progress.speed},
    )
