"""How many responses are sampled and which are kept."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from mathloop.sampling.config import SamplingConfig


class CoTConfig(BaseModel):
    """Rejection sampling of CoT responses (Paper §3.1.1)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(8, ge=1, description="Responses sampled per problem")
    keep: int = Field(
        4,
        ge=1,
        validate_default=True,
        description="Most responses kept per problem: the best by reward, or the first if there is no reward",
    )
    temperature: float = Field(1.0, gt=0, description="Sampling temperature")
    agreement: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Least share of the votes that the majority answer needs, without a gold answer",
    )
    sampling: SamplingConfig = SamplingConfig(max_tokens=160)

    @field_validator("keep")
    @classmethod
    def _at_most_all(cls, keep: int, info: ValidationInfo) -> int:
        return _within(keep, info, least=None, most="samples")


class TIRConfig(BaseModel):
    """Online rejection fine-tuning on TIR responses at several temperatures (Paper §3.1.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    iterations: int = Field(
        1,
        ge=1,
        le=16,
        description="Iterations of sampling and selecting, with a fine-tuning (section sft) of the policy "
        "between two of them; 1: no fine-tuning",
    )
    hardest: int = Field(
        4,
        ge=1,
        description="In later iterations, most times as many samples for problems that still lack responses; "
        "no iteration samples more than the first",
    )
    samples: int = Field(4, ge=1, description="Responses sampled per problem and temperature")
    keep: int = Field(2, ge=1, description="Most responses kept per problem")
    temperatures: tuple[float, ...] = Field((0.7, 1.0), min_length=1, description="Sampling temperatures")
    agreement: float = Field(
        0.5,
        ge=0,
        le=1,
        description="Least share of the votes that the majority answer needs, without a gold answer",
    )
    sampling: SamplingConfig = SamplingConfig(max_tokens=160)


class RewardDataConfig(BaseModel):
    """Labeled responses for the reward model (Paper §3.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(6, ge=2, description="Responses sampled per problem")
    champion_samples: int = Field(
        0, ge=0, description="Responses per problem that the round's champion, an earlier policy, adds"
    )
    earlier_samples: int = Field(
        0,
        ge=0,
        description="Responses per problem that each policy adds which `sft.earlier` saved on the way",
    )
    models: tuple[str, ...] = Field(
        (), description="Other policies, of any size: folders, or s3://bucket/folder"
    )
    model_samples: int = Field(2, ge=1, description="Responses per problem that each of `models` adds")
    balanced: bool = Field(
        False,
        description="Keep as many right as wrong responses of each problem, one more at most; problems whose "
        "responses are all right or all wrong are dropped",
    )
    temperature: float = Field(1.0, gt=0, description="Sampling temperature")
    sampling: SamplingConfig = SamplingConfig(max_tokens=160)


class SelectionConfig(BaseModel):
    """Problems that GRPO can learn from: neither always solved nor never (Paper §3.3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(8, ge=2, description="Responses sampled per problem")
    least: int = Field(2, ge=0, description="Fewest correct responses of a kept problem")
    most: int = Field(5, ge=0, validate_default=True, description="Most correct responses of a kept problem")
    temperature: float = Field(1.0, gt=0, description="Sampling temperature")
    sampling: SamplingConfig = SamplingConfig(max_tokens=160)

    @field_validator("most")
    @classmethod
    def _in_order(cls, most: int, info: ValidationInfo) -> int:
        return _within(most, info, least="least", most="samples")


def _within(value: int, info: ValidationInfo, *, least: str | None, most: str) -> int:
    """Returns the value if it is between two earlier fields; an earlier field that is invalid is ignored."""
    low, high = info.data.get(least or "", value), info.data.get(most, value)
    if not low <= value <= high:
        named = (
            f"at least {least} ({low}) and at most {most} ({high})" if least else f"at most {most} ({high})"
        )
        raise PydanticCustomError("order", "Input should be {named}", {"named": named})
    return value
