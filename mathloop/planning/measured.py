"""A plan beside what a round here took, and the constants of a model that a round tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mathloop.planning.assumptions import Assumptions
from mathloop.planning.plan import Plan, StagePlan
from mathloop.planning.work import Work
from mathloop.planning.workload import MODELS
from mathloop.settings import Settings

PROCESS = 0.57e9
"""Bytes of a stage's process beside its models: Python, torch and transformers, loaded. Measured on Linux."""
NEAR = 0.25
"""Share of the measured value by which a plan may be off."""
FIRST_ROUND = 3
"""Models that a first round evaluates: base, SFT model and challenger."""


@dataclass(frozen=True)
class Measured:
    """What one stage of a finished round did."""

    kept: float
    samples: float
    """Responses that it sampled; 0 in a training."""
    tokens: float
    """Sampled tokens without the interpreter's output; in a training, those through forward and backward."""
    peak: float = 0.0
    """Bytes that its process had resident at most; 0 if unknown."""


@dataclass(frozen=True)
class Compared:
    """One quantity of one stage, planned and measured."""

    stage: str
    quantity: str
    planned: float
    measured: float

    @property
    def error(self) -> float:
        """Planned above measured, as a share of measured."""
        return self.planned / self.measured - 1

    @property
    def near(self) -> bool:
        return abs(self.error) <= NEAR


def compare(plan: Plan, measured: Mapping[str, Measured], *, first: bool) -> list[Compared]:
    """Samples, tokens and memory of every stage that ran; `first`: the round evaluated three models."""
    rows = []
    for one in plan.stages:
        found = measured.get(one.work.stage)
        if found is None:
            continue
        share = FIRST_ROUND / MODELS if first and one.work.stage == "evaluation" else 1.0
        planned = {
            "samples": (share * one.work.samples, found.samples),
            "tokens": (share * _tokens(one.work), found.tokens),
            "memory": (_memory(one, first) + PROCESS, found.peak),
        }
        rows += [
            Compared(one.work.stage, quantity, wanted, there)
            for quantity, (wanted, there) in planned.items()
            if there
        ]
    return rows


def refit(assumed: Assumptions, settings: Settings, measured: Mapping[str, Measured]) -> dict[str, float]:
    """The lengths and the share of right responses that a round's synthesis and SFT show, by their names.

    What a stage that did not run would tell is left out.
    """
    fitted: dict[str, float] = {}
    for stage in ("cot", "tir"):
        if (one := measured.get(stage)) and one.samples:
            fitted[stage] = one.tokens / one.samples
    cot, tir, sft = (measured.get(stage) for stage in ("cot", "tir", "sft"))
    if cot and tir and sft and len(fitted) == 2 and cot.kept + tir.kept:
        # SFT reads each kept response after its prompt, as many times as it has epochs.
        responses = cot.kept * fitted["cot"] + tir.kept * fitted["tir"]
        fitted["prompt"] = (sft.tokens / settings.sft.epochs - responses) / (cot.kept + tir.kept)
    if cot and cot.samples and settings.cot.keep == settings.cot.samples:
        fitted["right"] = cot.kept / cot.samples  # nothing right was left out
    return fitted


def _tokens(work: Work) -> float:
    """The tokens of a plan that a stage's report counts."""
    return work.reported or work.trained if work.engine is not None else work.written


def _memory(one: StagePlan, first: bool) -> float:
    """A first round's champion has no reward model yet."""
    without = one.need.parts.get("reward model", 0.0) if first and one.work.stage == "cot" else 0.0
    return one.need.peak - without
