"""Stage: problems for GRPO, of whose 8 sampled responses 2 to 5 are correct (Paper §3.3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mathloop.records import Drops, Problem, open_drops, read_problems, write_problems
from mathloop.sampling.engines import load_sampler
from mathloop.stages import Progress, StageReport, timed
from mathloop.synthesis.config import SelectionConfig
from mathloop.synthesis.response_sampling import sample_responses, that_fit, with_gold


@timed
def run(
    *,
    problems: Path,
    policy: Path,
    out: Path,
    config: SelectionConfig,
    seed: int,
    dropped: Path | None = None,
) -> StageReport:
    """Writes the kept problems; those without a gold answer are dropped.

    Args:
        dropped: becomes JSON lines of the other problems, each with the reason and how many of its sampled
            responses were right.
    """
    read = list(read_problems(problems))
    spread: Counter[int] = Counter()

    def kept(drops: Drops) -> Iterator[Problem]:
        for problem, responses in sample_responses(
            sampler,
            usable,
            mode="cot",
            samples=config.samples,
            temperature=config.temperature,
            seed=seed + 1_299_709,
            progress=progress,
        ):
            right = sum(bool(r.correct) for r in responses)
            spread[right] += 1
            if right < config.least:
                drops.add(f"fewer than {config.least} of {config.samples} right", problem, right=right)
            elif right > config.most:
                drops.add(f"more than {config.most} of {config.samples} right", problem, right=right)
            else:
                yield problem

    with open_drops(dropped) as drops, load_sampler(policy, config.sampling) as sampler:
        usable = that_fit(sampler, with_gold(read, drops), "cot", drops)
        progress = Progress("selection", len(usable) * config.samples, "responses")
        written = write_problems(out, kept(drops))
    return StageReport(
        "selection",
        inputs=len(read),
        generated=len(usable) * config.samples,
        kept=written,
        dropped=drops.counts,
        values=progress.speed,
        curves={"problems by right samples": [(n, spread[n]) for n in range(config.samples + 1)]},
    )
