"""Settings of the written corpus. Sizes are documents, shares are fractions of 1."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError


class CorpusConfig(BaseModel):
    """A corpus of worked problems with the errors of scraped text: guesses, misreadings and slips."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    documents: int = Field(40_000, ge=1, description="Number of documents")
    chinese_share: float = Field(0.3, ge=0, le=1, description="Share of documents in Chinese")
    drill_share: float = Field(
        0.3, ge=0, le=1, description="Share of documents that are exercise sheets of bare calculations"
    )
    drill_length: int = Field(8, ge=1, description="Calculations on an exercise sheet")
    writing_share: float = Field(
        0.0, ge=0, le=1, description="Share of documents that teach to write problems and to rewrite them"
    )
    tir_share: float = Field(0.25, ge=0, le=1, description="Share of solutions that use Python (TIR)")
    guess_share: float = Field(
        0.15, ge=0, le=1, description="Share of CoT documents that state an answer with no working"
    )
    other_way_share: float = Field(
        0.45, ge=0, le=1, description="Share of solutions that use a problem's second correct method"
    )
    misread_low: float = Field(
        0.1, ge=0, le=1, description="Lowest share of misread solutions per wording; each has its own share"
    )
    misread_high: float = Field(
        0.6,
        ge=0,
        le=1,
        validate_default=True,
        description="Highest share of misread solutions per wording",
    )
    slip_share: float = Field(0.08, ge=0, le=1, description="Probability that a calculated number is wrong")
    world_seed: int = Field(
        7, description="Seed of the wordings' misread shares, independent of the round's seed"
    )

    @field_validator("misread_high")
    @classmethod
    def _in_order(cls, high: float, info: ValidationInfo) -> float:
        low = info.data.get("misread_low", high)
        if low > high:
            raise PydanticCustomError("order", "Input should be at least misread_low ({low})", {"low": low})
        return high
