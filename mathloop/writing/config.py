"""Settings of problems that a model writes. Counts are numbers of texts or problems."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from mathloop.sampling.config import PromptConfig, SamplingConfig


class WritingConfig(BaseModel):
    """Problems that a model writes (Paper §3.1.1: MuggleMath's evolution, translation)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    templates: tuple[str, ...] = Field(
        (), description="Names of shipped templates, or .yaml files; none: nothing is written"
    )
    count: int = Field(200, ge=1, description="Texts to ask for per template")
    model: str = Field(
        "",
        description="Policy that writes in place of the champion: a folder, s3://bucket/folder or "
        "hf://OWNER/NAME@COMMIT",
    )
    endpoint: str = Field(
        "", description="URL of an OpenAI-compatible server that writes in place of the champion"
    )
    endpoint_model: str = Field("", description="Model to ask there; empty: the first that it serves")
    parallel: int = Field(8, ge=1, le=256, description="Requests to the endpoint at the same time")
    tries: int = Field(
        10, ge=1, le=100, description="Attempts per request to an endpoint that is busy or fails"
    )
    request_seconds: float = Field(
        300.0, gt=0, description="Longest pause between two bytes of the endpoint's answer, in seconds"
    )
    temperature: float = Field(1.0, gt=0, description="Sampling temperature")
    sampling: SamplingConfig = SamplingConfig(max_tokens=256, prompt=PromptConfig(instruction="none"))
    shard: int = Field(128, ge=1, description="Texts that are asked for together; a killed stage repeats one")
    cache: str = Field(
        "",
        description="Local folder that keeps all texts for later runs; empty: they are kept for this stage",
    )
    shortest: int = Field(12, ge=1, description="Fewest characters of a problem")
    longest: int = Field(2000, ge=1, validate_default=True, description="Most characters of a problem")
    consistent: bool = Field(
        False,
        description="Whether to drop statements whose parts do not fit together: the question names another "
        "thing, somebody is compared with himself. Strict: it drops some good problems too",
    )
    similarity: float = Field(
        0.8,
        gt=0,
        le=1,
        description="Jaccard similarity of runs of 3 tokens (MinHash) from which a problem is a near-copy",
    )
    back_similarity: float = Field(
        0.5, ge=0, le=1, description="Least share of common words of a problem and its back-translation"
    )
    keep_answers: bool = Field(
        True,
        description="Whether rewording and translation keep the gold answer; false: it stays open",
    )
    programs: int = Field(
        0,
        ge=0,
        description="Solutions with programs (TIR) that the writer samples per written problem; where the "
        "problem asks how many or how much and they print a negative number, it is dropped. 0: none",
    )
    negative: float = Field(
        0.5, gt=0, le=1, description="Least share of the programs whose negative numbers drop a problem"
    )
    votes: int = Field(
        0, ge=0, description="Solutions sampled per written problem, whose answers vote; 0: no vote here"
    )
    agreement: float = Field(
        0.5, ge=0, le=1, description="Least share of the votes of a solvable problem's most frequent answer"
    )
    hard: float = Field(
        0.75, ge=0, le=1, description="Share of the votes below which a problem is hard and gets more samples"
    )
    budget: int = Field(0, ge=0, description="Further solutions, in all, for hard problems")
    keep: int = Field(
        0, ge=0, description="Most written problems, balanced over the difficulties; 0: all. It needs votes"
    )

    @field_validator("longest")
    @classmethod
    def _in_order(cls, longest: int, info: ValidationInfo) -> int:
        shortest = info.data.get("shortest", longest)
        if longest < shortest:
            raise PydanticCustomError(
                "order", "Input should be at least shortest ({least})", {"least": shortest}
            )
        return longest

    @field_validator("keep")
    @classmethod
    def _needs_votes(cls, keep: int, info: ValidationInfo) -> int:
        if keep and not info.data.get("votes", 1):
            raise PydanticCustomError("votes", "Balancing needs votes: set writing.votes, or keep to 0")
        return keep

    @field_validator("programs")
    @classmethod
    def _runs_here(cls, programs: int, info: ValidationInfo) -> int:
        if programs and info.data.get("endpoint"):
            raise PydanticCustomError(
                "programs", "A writer behind an endpoint runs no programs: set writing.programs to 0"
            )
        return programs

    @field_validator("endpoint")
    @classmethod
    def _one_writer(cls, endpoint: str, info: ValidationInfo) -> str:
        if endpoint and info.data.get("model"):
            raise PydanticCustomError("writer", "Only one of writing.model and writing.endpoint may be set")
        return endpoint
