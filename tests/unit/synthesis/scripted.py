"""A sampler that answers by a script: what a stage does with responses, without a model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from types import ModuleType
from typing import Any

import pytest

from mathloop.records import Mode, Problem, Response
from mathloop.sampling.sampler import Rollout, Sampler

Script = Callable[[Problem, int], Response]
"""The response to a problem, by the number of the sample."""


class ScriptedSampler(Sampler):
    """Yields three problems at a time; problems longer than `context` characters do not fit."""

    def __init__(self, script: Script, context: int) -> None:
        self._script, self._context = script, context

    def close(self) -> None:
        """Holds nothing."""

    def fits(self, problem: Problem, mode: Mode) -> bool:
        return len(problem.problem) <= self._context

    def stream(
        self,
        problems: Sequence[Problem],
        *,
        mode: Mode,
        samples: int,
        temperature: float,
        seed: int,
        first: int = 0,
    ) -> Iterator[list[Rollout]]:
        for start in range(0, len(problems), 3):
            yield [
                Rollout(
                    replace(
                        self._script(problem, sample),
                        problem_id=problem.id,
                        sample=sample,
                        mode=mode,
                        temperature=temperature,
                    ),
                    [],
                    [],
                    [],
                    [],
                )
                for problem in problems[start : start + 3]
                for sample in range(samples)
            ]


def script(
    monkeypatch: pytest.MonkeyPatch, stage: ModuleType, answers: Script, context: int = 10_000
) -> None:
    """Lets a stage draw from the script, whatever policy it is given."""

    def load(*_: Any) -> ScriptedSampler:
        return ScriptedSampler(answers, context)

    monkeypatch.setattr(stage, "load_sampler", load)
