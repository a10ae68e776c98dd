"""Stage: responses of the SFT model and of other policies, labeled correct or not, for the reward model.

Paper §3.2: responses of intermediate policies and of other sizes balance right and wrong ones.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from shutil import rmtree
from typing import NamedTuple

from mathloop.models.folders import EARLIER
from mathloop.models.sources import obtained
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
_Halves = list[tuple[Mode, list[Problem]]]


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
        policy: the SFT model; `config.earlier_samples` also asks the policies in its folder `EARLIER`.
        champion: an earlier policy, which adds `config.champion_samples` responses per problem.
        dropped: becomes JSON lines of the problems without a gold answer, too long for a model, or, with
            `config.balanced`, without both right and wrong responses, and of responses beyond the balance.

    Raises:
        BadModel: one of `config.models` is not there, or no policy.
    """
    read = list(read_problems(problems))
    asked = _asked(policy, champion, config)
    folder = out.with_name(f".{out.name}-policies")
    files = [folder / f"{number}.parquet" for number in range(len(asked))]
    made: Counter[str] = Counter()
    right: Counter[str] = Counter()
    speed: dict[str, float] = {}
    notes: list[str] = []
    if config.earlier_samples and not (policy / EARLIER).is_dir():
        notes.append("The SFT model has no earlier policies: sft.earlier is 0, or it took too few steps.")

    def sampled(sampler: Sampler, one: _Asked, number: int, halves: _Halves) -> Iterator[Response]:
        for mode, half in halves:
            for _, responses in sample_responses(
                sampler,
                half,
                mode=mode,
                samples=one.samples,
                temperature=config.temperature,
                seed=seed + 104_729 + _NEXT_POLICY * number,
                progress=progress,
            ):
                made[one.name] += len(responses)
                right[one.name] += sum(bool(r.correct) for r in responses)
                yield from (replace(r, model=one.name) for r in responses) if len(asked) > 1 else responses

    with open_drops(dropped) as drops:
        gradable = with_gold(read, drops)
        first: _Halves = [("cot", gradable[::2]), ("tir", gradable[1::2])]
        try:
            for number, (one, file) in enumerate(zip(asked, files, strict=True)):
                with one.folder() as path, load_sampler(path, config.sampling) as sampler:
                    unfit = Drops() if number else drops
                    halves = [(mode, that_fit(sampler, half, mode, unfit)) for mode, half in first]
                    if number and unfit.counts:
                        notes.append(f"Too long for {one.name}: {unfit.counts.total():,} problems.")
                    first = first if number else halves
                    total = one.samples * sum(len(half) for _, half in halves)
                    progress = Progress("reward_data", total, "responses")
                    write_responses(file, sampled(sampler, one, number, halves))
                    speed = speed or progress.speed
            fitting = [problem for _, half in first for problem in half]
            written = write_responses(out, _chosen(fitting, map(read_responses, files), config, drops))
        finally:
            rmtree(folder, ignore_errors=True)
    values = {"share of right responses": right.total() / max(1, made.total()), **speed}
    if len(asked) > 1:
        values |= {f"share of right responses, {name}": right[name] / max(1, made[name]) for name in made}
    return StageReport(
        "reward_data",
        inputs=len(read),
        generated=made.total(),
        kept=written,
        dropped=drops.counts,
        values=values,
        notes=notes,
    )


class _Asked(NamedTuple):
    """A policy that adds responses."""

    name: str
    source: Path | str
    """A folder, or where a model is from."""
    samples: int

    def folder(self) -> AbstractContextManager[Path]:
        return nullcontext(self.source) if isinstance(self.source, Path) else obtained(self.source)


def _asked(policy: Path, champion: Path | None, config: RewardDataConfig) -> list[_Asked]:
    """The SFT model first: the others are asked the problems that fit it."""
    asked = [_Asked("sft", policy, config.samples)]
    if champion is not None and config.champion_samples:
        asked.append(_Asked("champion", champion, config.champion_samples))
    if config.earlier_samples:
        saved = sorted((policy / EARLIER).glob("*"), key=lambda path: int(path.name))
        asked += [_Asked(f"sft, step {path.name}", path, config.earlier_samples) for path in saved]
    asked += [_Asked(source, source, config.model_samples) for source in config.models]
    return asked


def _chosen(
    problems: Sequence[Problem],
    files: Iterable[Iterable[Response]],
    config: RewardDataConfig,
    drops: Drops,
) -> Iterator[Response]:
    """Each problem's responses of all policies, numbered anew; balanced if that is asked for."""
    streams = [_Stream(responses) for responses in files]
    for problem in problems:
        drawn = [response for stream in streams for response in stream.take(problem.id)]
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


class _Stream:
    """A policy's responses, in the order of the problems; some problems may have none."""

    def __init__(self, responses: Iterable[Response]) -> None:
        self._groups = groupby(responses, key=lambda response: response.problem_id)
        self._next = next(self._groups, None)

    def take(self, problem_id: str) -> list[Response]:
        """The responses to the problem."""
        if self._next is None or self._next[0] != problem_id:
            return []
        taken = list(self._next[1])
        self._next = next(self._groups, None)
        return taken
