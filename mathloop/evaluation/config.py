"""Settings of evaluation and gate; importing them needs no torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mathloop.sampling.config import SamplingConfig
from mathloop.voting import STRATEGIES

KINDS = ("greedy", "mean", *(name for name, one in STRATEGIES.items() if one.needs != "greedy"), "pass")
"""Greedy decoding, or mean@k, pass@k and the voting strategies over k samples: maj@k, rm@k, weighted@k."""
if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[KINDS]


class BenchmarksConfig(BaseModel):
    """Named benchmarks of a round, beside the problems that it holds out. A plain list means `measure`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measure: tuple[str, ...] = Field(
        (),
        description="Benchmarks that models are measured on and training data must not contain: names, .yaml "
        "files, or files of problems",
    )
    exclude: tuple[str, ...] = Field(
        (), description="Benchmarks that training data must not contain, and that are not measured"
    )
    folders: tuple[str, ...] = Field(
        (), description="Folders with their data and YAML files, besides those in MATHLOOP_BENCHMARKS"
    )
    limit: int = Field(
        0,
        ge=0,
        description="Most problems to measure per benchmark, the same in every round; 0: all. "
        "Training data must contain none of the others either",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, values: Any) -> Any:
        if isinstance(values, list | tuple):
            values = {"measure": values}
        if not isinstance(values, dict):
            return values
        # Behind a validator of this kind, strict JSON no longer takes lists for tuples.
        return {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}


NO_BENCHMARKS = BenchmarksConfig()


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
    weights: dict[str, float] = Field(
        {},
        description="Named benchmark, or held-out → its weight in the decision: 1 unless given, 0 to report "
        "it only",
    )

    @field_validator("weights")
    @classmethod
    def _decide_on_something(cls, value: dict[str, float]) -> dict[str, float]:
        if not all(0 <= weight < 1e9 for weight in value.values()):
            raise ValueError("expected weights from 0 up, such as {gsm8k: 2, held-out: 0}")
        return value


class EvaluationConfig(BaseModel):
    """Evaluation: greedy decoding and k samples per problem, in CoT and TIR (Paper §5)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(
        8, ge=1, description="Samples per problem: the k of maj@k, rm@k, weighted@k and pass@k"
    )
    temperature: float = Field(1.0, gt=0, description="Sampling temperature of the k samples")
    sampling: SamplingConfig = SamplingConfig(max_tokens=160)
