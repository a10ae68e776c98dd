"""Where a round's problems come from. Counts are problems, shares fractions of 1."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class ProblemsConfig(BaseModel):
    """Training problems from a file or the built-in generator, and the benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(1200, ge=1, description="Training problems; of a file, drawn by the seed")
    benchmark: int = Field(
        300,
        ge=1,
        description="Benchmark problems; of a file, out of the quarter that is held out for all seeds",
    )
    chinese_share: float = Field(0.3, ge=0, le=1, description="Share of the generator's problems in Chinese")
    rejects_share: float = Field(
        0.0, ge=0, le=1, description="Share of a file's rows that may be broken and are set aside"
    )


class EvolutionConfig(BaseModel):
    """Evolved problems have no gold answer: the samples' majority presumes one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(200, ge=0, description="Problems to evolve")
