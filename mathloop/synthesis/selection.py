"""Stage: problems for GRPO: those of which the SFT model gets 2 to 5 of 8 right (Paper §3.3)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mathloop.records import Problem, read_problems, write_problems
from mathloop.stages import StageReport
from mathloop.synthesis.config import SelectionConfig
from mathloop.synthesis.drawing import draw


def run(*, problems: Path, policy: Path, out: Path, config: SelectionConfig, seed: int) -> StageReport:
    """Writes the kept problems; those without a gold answer are dropped."""
    started = time.monotonic()
    read = list(read_problems(problems))
    given = [p for p in read if p.answer is not None]
    dropped: Counter[str] = Counter({"no gold answer": len(read) - len(given)})
    spread: Counter[int] = Counter()

    def kept() -> Iterator[Problem]:
        for problem, responses in draw(
            policy,
            given,
            mode="cot",
            samples=config.samples,
            temperature=config.temperature,
            sampling=config.sampling,
            seed=seed + 1_299_709,
            stage="selection",
        ):
            right = sum(bool(r.correct) for r in responses)
            spread[right] += 1
            if right < config.least:
                dropped[f"fewer than {config.least} of {config.samples} right"] += 1
            elif right > config.most:
                dropped[f"more than {config.most} of {config.samples} right"] += 1
            else:
                yield problem

    written = write_problems(out, kept())
    return StageReport(
        "selection",
        time.monotonic() - started,
        taken=len(read),
        made=len(given) * config.samples,
        kept=written,
        dropped=dropped,
        curves={"problems by right samples": [(n, spread[n]) for n in range(config.samples + 1)]},
    )
