"""Stage: responses of the SFT model, labeled right or wrong, for the reward model (Paper §3.2)."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from mathloop.records import Response, open_drops, read_problems, write_responses
from mathloop.stages import StageReport
from mathloop.synthesis.config import RewardDataConfig
from mathloop.synthesis.drawing import draw


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
        dropped: becomes JSON lines of the problems without a gold answer.
    """
    started = time.monotonic()
    read = list(read_problems(problems))
    given = [p for p in read if p.answer is not None]
    right = made = 0

    def responses() -> Iterator[Response]:
        nonlocal right, made
        for mode, chosen in (("cot", given[::2]), ("tir", given[1::2])):
            for _, drawn in draw(
                policy,
                chosen,
                mode=mode,  # type: ignore[arg-type]
                samples=config.samples,
                temperature=config.temperature,
                sampling=config.sampling,
                seed=seed + 104_729,
                stage="reward_data",
            ):
                made += len(drawn)
                right += sum(bool(r.correct) for r in drawn)
                yield from drawn

    with open_drops(dropped) as drops:
        for problem in read:
            if problem.answer is None:
                drops.add("no gold answer", problem)
    written = write_responses(out, responses())
    return StageReport(
        "reward_data",
        time.monotonic() - started,
        taken=len(read),
        made=made,
        kept=written,
        dropped=drops.counts,
        values={"share of right responses": right / max(1, made)},
    )
