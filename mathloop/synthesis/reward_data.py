"""Stage: responses of the SFT model and of the champion, labeled correct or not, for the reward model.

Paper §3.2: responses of other policies balance right and wrong ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from shutil import rmtree

from mathloop.records import (
    Drops,
    Mode,
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
from mathloop.synthesis.config import RewardDataConfig
from mathloop.synthesis.response_sampling import sample_responses, that_fit, with_gold

_NEXT_POLICY = 32_452_843
"""Between the seeds of two policies."""


@timed
def run(
    *,
    problems: Path,
    policy: Path,
    out: Path,
    config: RewardDataConfig,
    seed: int,
    dropped: Path | None = None,
    champion: Path | None = None,
) -> StageReport:
    """Writes the responses to every problem with a gold answer; CoT and TIR problems alternate.

    Args:
        champion: an earlier policy, which adds `config.champion_samples` responses per problem.
        dropped: becomes JSON lines of the problems without a gold answer, too long for a model, or, with
            `config.balanced`, without both right and wrong responses, and of responses beyond the balance.
    """
    read = list(read_problems(problems))
    policies = [("sft", policy, config.samples)]
    if champion is not None and config.champion_samples:
        policies.append(("champion", champion, config.champion_samples))
    folder = out.with_name(f".{out.name}-policies")
    made: Counter[str] = Counter()
    right: Counter[str] = Counter()
    speed: dict[str, float] = {}

    def sampled(sampler: Sampler, name: str, samples: int) -> Iterator[Response]:
        for mode, half in halves:
            for _, responses in sample_responses(
                sampler,
                half,
                mode=mode,
                samples=samples,
                temperature=config.temperature,
                seed=seed + 104_729 + _NEXT_POLICY * (name != "sft"),
                progress=progress,
            ):
                made[name] += len(responses)
                right[name] += sum(bool(r.correct) for r in responses)
                yield from (replace(r, model=name) for r in responses) if len(policies) > 1 else responses

    with open_drops(dropped) as drops:
        gradable = with_gold(read, drops)
        asked: tuple[tuple[Mode, list[Problem]], ...] = (("cot", gradable[::2]), ("tir", gradable[1::2]))
        halves = [(mode, list(half)) for mode, half in asked]
        try:
            for name, path, samples in policies:
                with load_sampler(path, config.sampling) as sampler:
                    if name == "sft":  # policies of one line have the same context
                        halves = [(mode, that_fit(sampler, half, mode, drops)) for mode, half in asked]
                    total = samples * sum(len(half) for _, half in halves)
                    progress = Progress("reward_data", total, "responses")
                    write_responses(folder / f"{name}.parquet", sampled(sampler, name, samples))
                    speed = speed or progress.speed
            streams = [(read_responses(folder / f"{name}.parquet"), samples) for name, _, samples in policies]
            chosen = _chosen([p for _, half in halves for p in half], streams, config, drops)
            written = write_responses(out, chosen)
        finally:
            rmtree(folder, ignore_errors=True)
    values = {"share of right responses": right.total() / max(1, made.total()), **speed}
    if len(policies) > 1:
        values |= {f"share of right responses, {name}": right[name] / max(1, made[name]) for name in made}
    return StageReport(
        "reward_data",
        inputs=len(read),
        generated=made.total(),
        kept=written,
        dropped=drops.counts,
        values=values,
    )


def _chosen(
    problems: list[Problem],
    streams: list[tuple[Iterator[Response], int]],
    config: RewardDataConfig,
    drops: Drops,
) -> Iterator[Response]:
    """Each problem's responses of all policies, numbered anew; balanced if that is asked for."""
    for problem in problems:
        drawn = [r for stream, samples in streams for r in islice(stream, samples)]
        if len(streams) > 1:
            drawn = [replace(r, sample=number) for number, r in enumerate(drawn)]
        counts = Counter(bool(r.correct) for r in drawn)
        if config.balanced and len(counts) == 1:
            drops.add("all responses are right" if counts[True] else "all responses are wrong", problem)
            continue
        most = min(counts.values(), default=0) + 1 if config.balanced else len(drawn)
        kept: Counter[bool] = Counter()
        for response in drawn:
            kept[bool(response.correct)] += 1
            if kept[bool(response.correct)] <= most:
                yield response
            else:
                drops.add("beyond the balance of right and wrong", response, problem=problem.problem)
