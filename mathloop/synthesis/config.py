"""How many responses are drawn and which are kept."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from mathloop.sampling.config import SamplingConfig


class CoTConfig(BaseModel):
    """Rejection sampling of CoT responses (Paper §3.1.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(8, ge=1, description="Responses drawn a problem")
    keep: int = Field(
        4,
        ge=1,
        validate_default=True,
        description="Most responses kept a problem: the best by reward, without one the first that differ",
    )
    temperature: float = Field(1.0, gt=0, description="Sampling temperature")
    agreement: float = Field(0.5, ge=0, le=1, description="Least share of the vote for a presumed answer")
    sampling: SamplingConfig = SamplingConfig(max_tokens=160)

    @field_validator("keep")
    @classmethod
    def _at_most_all(cls, keep: int, given: ValidationInfo) -> int:
        return _within(keep, given, least=None, most="samples")


class TIRConfig(BaseModel):
    """Rejection sampling of TIR responses at several temperatures (Paper §3.1.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(4, ge=1, description="Responses drawn a problem and temperature")
    keep: int = Field(2, ge=1, description="Most responses kept a problem")
    temperatures: tuple[float, ...] = Field((0.7, 1.0), min_length=1, description="Sampling temperatures")
    agreement: float = Field(0.5, ge=0, le=1, description="Least share of the vote for a presumed answer")
    sampling: SamplingConfig = SamplingConfig(max_tokens=160)


class RewardDataConfig(BaseModel):
    """Responses that the reward model learns to rank (Paper §3.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(6, ge=2, description="Responses drawn a problem")
    temperature: float = Field(1.0, gt=0, description="Sampling temperature")
    sampling: SamplingConfig = SamplingConfig(max_tokens=160)


class SelectionConfig(BaseModel):
    """Problems worth a GRPO group: neither solved nor hopeless (Paper §3.3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(8, ge=2, description="Responses drawn a problem")
    least: int = Field(2, ge=0, description="Fewest right ones of a kept problem")
    most: int = Field(5, ge=0, validate_default=True, description="Most right ones of a kept problem")
    temperature: float = Field(1.0, gt=0, description="Sampling temperature")
    sampling: SamplingConfig = SamplingConfig(max_tokens=160)

    @field_validator("most")
    @classmethod
    def _in_order(cls, most: int, given: ValidationInfo) -> int:
        return _within(most, given, least="least", most="samples")


def _within(value: int, given: ValidationInfo, *, least: str | None, most: str) -> int:
    """Returns the value if it lies between two earlier fields; one that is itself wrong does not count."""
    low, high = given.data.get(least or "", value), given.data.get(most, value)
    if not low <= value <= high:
        named = (
            f"at least {least} ({low}) and at most {most} ({high})" if least else f"at most {most} ({high})"
        )
        raise PydanticCustomError("order", "Input should be {named}", {"named": named})
    return value
