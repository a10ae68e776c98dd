"""Stage: TIR responses for SFT: several temperatures, correct answers only, deduplicated (Paper §3.1.2)."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from mathloop.records import Response, open_drops, read_problems, write_responses
from mathloop.stages import StageReport, timed
from mathloop.synthesis.config import TIRConfig
from mathloop.synthesis.cot import select
from mathloop.synthesis.response_sampling import report_sample, sample_responses


@timed
def run(
    *,
    problems: Path,
    policy: Path,
    out: Path,
    config: TIRConfig,
    seed: int,
    dropped: Path | None = None,
) -> StageReport:
    """Writes the chosen Responses to `out`; as in the paper, none of them is ranked by reward.

    Args:
        dropped: becomes JSON lines of the other responses, each with its problem and why it was dropped.
    """
    read = list(read_problems(problems))
    sampled: dict[str, list[Response]] = defaultdict(list)
    for index, temperature in enumerate(config.temperatures):
        for problem, responses in sample_responses(
            policy,
            read,
            mode="tir",
            samples=config.samples,
            temperature=temperature,
            sampling=config.sampling,
            seed=seed + 7919 * (index + 1),
            stage="tir",
        ):
            earlier = sampled[problem.id]
            earlier += [replace(r, sample=len(earlier) + at) for at, r in enumerate(responses)]
    made = sum(map(len, sampled.values()))
    kept: list[Response] = []
    samples: list[dict[str, Any]] = []
    with open_drops(dropped) as drops:
        for problem in read:
            usable = [r for r in sampled[problem.id] if r.tool_calls > 0]
            for response in sampled[problem.id]:
                if response.tool_calls == 0:
                    drops.add("no Python was run", response, problem=problem.problem, gold=problem.answer)
            chosen = select(
                problem, usable, drops, keep=config.keep, agreement=config.agreement, weighted=False
            )
            if len(samples) < 6 and usable:
                shown = chosen[0] if chosen else usable[0]
                samples.append(report_sample(problem, shown, "kept" if chosen else "dropped"))
            kept += chosen
    written = write_responses(out, kept)
    return StageReport(
        "tir",
        inputs=len(read),
        generated=made,
        kept=written,
        dropped=drops.counts,
        samples=samples,
    )
