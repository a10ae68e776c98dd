"""Configs of the evaluation room, free of torch."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Kind = Literal["greedy", "mean", "maj", "rm", "pass"]
"""Greedy decoding, or mean@k, maj@k, rm@k, pass@k."""


class GateConfig(BaseModel):
    """When a challenger replaces the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: Kind = Field(
        "greedy", description="Score compared, averaged over CoT and TIR problem by problem."
    )
    margin: float = Field(
        0.0,
        ge=0.0,
        lt=1.0,
        description="The interval's lower end must exceed this (share of problems, 0 to 1).",
    )
    resamples: int = Field(10_000, ge=100, description="Bootstrap resamples of the benchmark's problems.")
