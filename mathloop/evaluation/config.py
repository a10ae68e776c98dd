"""Settings of evaluation and gate; importing them needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from mathloop.sampling.config import SamplingConfig
from mathloop.voting import STRATEGIES

KINDS = ("greedy", "mean", *(name for name, one in STRATEGIES.items() if one.needs != "greedy"), "pass")
"""Greedy decoding, or mean@k, pass@k and the voting strategies over k samples: maj@k, rm@k, weighted@k."""
if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[KINDS]


class GateConfig(BaseModel):
    """Promotion gate: when a challenger replaces the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Kind = Field("greedy", description="Metric to compare, averaged over CoT and TIR per problem")
    margin: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="Minimum for the interval's lower end (fraction of problems, 0 to 1)",
    )
    resamples: int = Field(10_000, ge=100, description="Bootstrap resamples of the benchmark's problems")


class EvaluationConfig(BaseModel):
    """Evaluation: greedy decoding and k samples per problem, in CoT and TIR (Paper §5)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(
        8, ge=1, description="Samples per problem: the k of maj@k, rm@k, weighted@k and pass@k"
    )
    temperature: float = Field(1.0, gt=0, description="Sampling temperature of the k samples")
    sampling: SamplingConfig = SamplingConfig(max_tokens=160)
