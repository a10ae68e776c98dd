"""Stage: TIR responses for SFT: several temperatures, correct answers only, deduplicated (Paper §3.1.2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import islice
from pathlib import Path
from shutil import rmtree
from typing import Any

from mathloop.records import (
    Drops,
    Problem,
    Response,
    open_drops,
    read_problems,
    read_responses,
    write_responses,
)
from mathloop.sampling.engines import load_sampler
from mathloop.sampling.sampler import Sampler
from mathloop.stages import Progress, StageReport, timed
from mathloop.synthesis.config import TIRConfig
from mathloop.synthesis.cot import select
from mathloop.synthesis.response_sampling import report_sample, sample_responses, that_fit


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
    samples: list[dict[str, Any]] = []
    made = 0

    def kept(drops: Drops, sampled: Iterator[list[Response]], fitting: list[Problem]) -> Iterator[Response]:
        nonlocal made
        for problem, responses in zip(fitting, sampled, strict=True):
            made += len(responses)
            usable = []
            for response in responses:
                if response.tool_calls == 0:
                    drops.add("no Python was run", response, problem=problem.problem, gold=problem.answer)
                else:
                    usable.append(response)
            chosen = select(
                problem, usable, drops, keep=config.keep, agreement=config.agreement, weighted=False
            )
            if len(samples) < 6 and usable:
                shown = chosen[0] if chosen else usable[0]
                samples.append(report_sample(problem, shown, "kept" if chosen else "dropped"))
            yield from chosen

    with open_drops(dropped) as drops, load_sampler(policy, config.sampling) as sampler:
        fitting = that_fit(sampler, read, "tir", drops)
        total = len(fitting) * config.samples * len(config.temperatures)
        progress = Progress("tir", total, "responses")
        passes = out.with_name(f".{out.name}-passes")
        with _sampled(sampler, fitting, passes, config, seed, progress) as sampled:
            written = write_responses(out, kept(drops, sampled, fitting))
    return StageReport(
        "tir",
        inputs=len(read),
        generated=made,
        kept=written,
        dropped=drops.counts,
        values=progress.speed,
        samples=samples,
    )


@contextmanager
def _sampled(
    sampler: Sampler,
    problems: list[Problem],
    folder: Path,
    config: TIRConfig,
    seed: int,
    progress: Progress,
) -> Iterator[Iterator[list[Response]]]:
    """Each problem's responses at all temperatures, in the order of `problems`; on disk in the meantime."""
    passes = [folder / f"{index}.parquet" for index in range(len(config.temperatures))]
    try:
        for index, (path, temperature) in enumerate(zip(passes, config.temperatures, strict=True)):
            drawn = sample_responses(
                sampler,
                problems,
                mode="tir",
                samples=config.samples,
                temperature=temperature,
                seed=seed + 7919 * (index + 1),
                progress=progress,
            )
            write_responses(path, (response for _, responses in drawn for response in responses))
        streams = [read_responses(path) for path in passes]
        yield (
            [
                replace(response, sample=number)
                for number, response in enumerate(
                    response for each in streams for response in islice(each, config.samples)
                )
            ]
            for _ in problems
        )
    finally:
        rmtree(folder, ignore_errors=True)
