"""Where a round's problems come from. Counts are problems, shares fractions of 1."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ProblemsConfig(BaseModel):
    """Training problems from a file or the built-in generator, and the benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(1200, ge=1, description="Training problems; the first so many rows of a file")
    benchmark: int = Field(300, ge=1, description="Benchmark problems")
    chinese_share: float = Field(0.3, ge=0, le=1, description="Share of the generator's problems in Chinese")
    rejects_share: float = Field(
        0.05, ge=0, le=1, description="Share of broken rows in a file past which the stage stops"
    )


class EvolutionConfig(BaseModel):
    """Evolved problems have no gold answer: the samples' majority presumes one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(200, ge=0, description="Problems to evolve")
