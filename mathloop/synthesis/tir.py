"""Stage: TIR responses for SFT, by online rejection fine-tuning (Paper §3.1.2).

An iteration samples at several temperatures, drops wrong, broken and repeated responses, and fine-tunes the
policy on all that was kept so far; the next one samples again with the tuned policy. One iteration, which is
the default, only samples and selects.
"""

from __future__ import annotations

import gc
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from shutil import rmtree
from typing import Any

from mathloop.errors import BadConfig
from mathloop.files import content_digest
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
from mathloop.stages import Progress, StageReport, timed
from mathloop.synthesis.config import TIRConfig
from mathloop.synthesis.cot import select
from mathloop.synthesis.rejection import rejected
from mathloop.synthesis.response_sampling import report_sample
from mathloop.synthesis.tir_sampling import Draw, fitting_problems

NEXT_ITERATION = 32_452_843
"""Between the seeds of two iterations."""

Trainer = Callable[..., Any]
"""Fine-tunes, with the arguments of `mathloop.training.sft.run` but its settings, and returns its report."""


@timed
def run(
    *,
    problems: Path,
    policy: Path,
    out: Path,
    config: TIRConfig,
    seed: int,
    dropped: Path | None = None,
    train: Trainer | None = None,
    work: Path | None = None,
) -> StageReport:
    """Writes the chosen Responses to `out`; as in the paper, none of them is ranked by reward.

    Killed and started again, it repeats at most one shard of samples or what SFT's checkpoints leave open.

    Args:
        dropped: becomes JSON lines of the other responses, each with its problem and why it was dropped.
        train: fine-tunes between two iterations; always from `policy`, on all that was kept so far.
        work: folder for samples and tuned policies of several iterations.

    Raises:
        BadConfig: there are several iterations and no `train` or `work`.
    """
    read = list(read_problems(problems))
    if config.iterations == 1:
        folder = out.with_name(f".{out.name}-passes")
    elif train is None or work is None:
        raise BadConfig(
            f"tir.iterations={config.iterations} fine-tunes between iterations, and here is no trainer: "
            "set tir.iterations to 1"
        )
    else:
        folder = work / f"tir-{_identity(problems, policy, config, seed)}"
    try:
        with open_drops(dropped) as drops:
            stage = _Stage(read, config, seed, folder, drops)
            report = stage.run(problems, policy, out, train)
    finally:
        if config.iterations == 1:
            rmtree(folder, ignore_errors=True)
    rmtree(folder, ignore_errors=True)
    return report


def _identity(problems: Path, policy: Path, config: TIRConfig, seed: int) -> str:
    """What another attempt must have in common with this one to go on with its samples."""
    parts = [content_digest(problems), content_digest(policy), config.model_dump_json(), seed]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


class _Stage:
    """The iterations of one run, with what they count."""

    def __init__(
        self, problems: list[Problem], config: TIRConfig, seed: int, folder: Path, drops: Drops
    ) -> None:
        self._problems, self._config, self._seed = problems, config, seed
        self._folder, self._drops = folder, drops
        self._samples: list[dict[str, Any]] = []
        self._generated = self._right = self._first = 0
        self._full: Counter[str] = Counter()
        """Problem → responses kept so far."""
        self._values: dict[str, float] = {}

    def run(self, problems: Path, policy: Path, out: Path, train: Trainer | None) -> StageReport:
        config = self._config
        source, kept, written = policy, None, 0
        curve: list[tuple[float, float]] = []
        fitting: list[Problem] = []
        for number in range(1, config.iterations + 1):
            folder = self._folder / str(number) if config.iterations > 1 else self._folder
            fitting = self._draw_all(source, folder, fitting, number)
            last = number == config.iterations
            path = out if last else folder / "kept.parquet"
            before = self._generated, self._right
            written = write_responses(path, self._choose(fitting, kept))
            drawn, right = self._generated - before[0], self._right - before[1]
            curve.append((number, right / max(1, drawn)))
            kept = path
            if last or not written:
                continue  # nothing to learn from: the same policy samples again, with other seeds
            source = folder / "policy"
            if not (folder / "tuned.json").is_file():
                assert train is not None
                rmtree(source, ignore_errors=True)
                train(
                    problems=problems,
                    responses=[path],
                    policy=policy,
                    model=source,
                    work=folder / "sft",
                    seed=self._seed + number,
                ).write(folder / "tuned.json")
                from mathloop.models.memory import give_back  # only who trains has torch

                gc.collect()
                give_back()  # the next sampler may be another process
        report = StageReport(
            "tir",
            inputs=len(self._problems),
            generated=self._generated,
            kept=written,
            dropped=self._drops.counts,
            values=self._values,
            samples=self._samples,
        )
        if config.iterations > 1:
            report.curves["share of right responses by iteration"] = curve
        return report

    def _todo(self, fitting: list[Problem], number: int) -> tuple[list[Problem], int]:
        """The problems that iteration `number` samples, and how many responses of each and temperature.

        Later iterations leave out problems that have all the responses they need, and draw more of the
        others, the harder ones. Without a gold answer, a problem waits for the last and best policy.
        """
        config = self._config
        if config.iterations == 1:
            return fitting, config.samples
        last = number == config.iterations
        todo = [p for p in fitting if (last if p.answer is None else self._full[p.id] < config.keep)]
        if number == 1:
            return todo, config.samples
        times = min(config.hardest, max(1, len(fitting) // max(1, len(todo))))
        return todo, config.samples * times

    def _draw_all(self, policy: Path, folder: Path, fitting: list[Problem], number: int) -> list[Problem]:
        """Draws what is not on the disk yet; returns the problems whose prompts fit."""
        record = self._folder / "fitting.json"
        seed = self._seed + NEXT_ITERATION * (number - 1)
        with ExitStack() as stack:
            sampler = None
            if number == 1:
                if not record.is_file():
                    sampler = stack.enter_context(load_sampler(policy, self._config.sampling))
                fitting = fitting_problems(sampler, self._problems, self._drops, record)
            self._todo_now, self._each = self._todo(fitting, number)
            self._draw = Draw(self._todo_now, self._each, folder, self._config, seed, self._first)
            progress = Progress("tir", self._draw.total, "responses")
            if not self._draw.done():
                sampler = sampler or stack.enter_context(load_sampler(policy, self._config.sampling))
                self._draw.draw(sampler, progress)
            self._values = progress.speed
        return fitting

    def _choose(self, fitting: list[Problem], kept: Path | None) -> Iterator[Response]:
        """What is kept so far, in the order of the problems: that of earlier iterations, `kept`, first."""
        several = self._config.iterations > 1
        earlier = groupby(read_responses(kept), key=lambda r: r.problem_id) if kept else iter(())
        before = next(earlier, None)
        drawn = self._draw.responses()
        fresh = next(drawn, None)
        for problem in fitting:
            old: list[Response] = []
            if before is not None and before[0] == problem.id:
                old = list(before[1])
                before = next(earlier, None)
            yield from old
            if fresh is None or fresh[0] is not problem:
                continue
            responses = fresh[1]
            fresh = next(drawn, None)
            self._generated += len(responses)
            self._right += sum(bool(r.correct) for r in responses)
            seen = {r.text for r in old}
            usable = []
            for response in responses:
                reason = "no Python was run" if response.tool_calls == 0 else None
                if reason is None and several:
                    reason = rejected(response.text)
                if reason is None and response.text in seen:
                    reason = "duplicate of another response"
                if reason is None:
                    usable.append(response)
                else:
                    self._drops.add(reason, response, problem=problem.problem, gold=problem.answer)
            chosen = select(
                problem,
                usable,
                self._drops,
                keep=self._config.keep - len(old),
                agreement=self._config.agreement,
                weighted=False,
            )
            self._full[problem.id] += len(chosen)
            if len(self._samples) < 6 and usable:
                shown = chosen[0] if chosen else usable[0]
                self._samples.append(report_sample(problem, shown, "kept" if chosen else "dropped"))
            yield from chosen
        self._first += self._each * len(self._config.temperatures)
