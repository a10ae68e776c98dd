"""Defaults and bounds of the solver."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from mathloop.voting import STRATEGIES

MODEL = "mathloop"
"""Name of the model in the OpenAI API and in KServe."""
KEY_VARIABLE = "MATHLOOP_API_KEY"
"""If set, the server requires it as a bearer token, and `mathloop ask` sends it."""
ENDPOINT_KEY_VARIABLE = "MATHLOOP_ENDPOINT_API_KEY"
"""If set, it is sent as a bearer token to the endpoints of the policy and the reward model."""


class SolverConfig(BaseModel):
    """Defaults of a question and bounds of the server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(
        8, ge=1, description="Responses per problem, unless the request or a champion's evaluation sets them"
    )
    most_samples: int = Field(64, ge=1, description="Most responses that a request may ask for")
    strategy: str | None = Field(
        None,
        description="Strategy unless the request sets one; by default the best of the champion's evaluation, "
        "without one weighted with a reward model, else maj",
    )
    adaptive: Literal["auto", "always", "never"] = Field(
        "auto",
        description="Draw in small batches until the vote is settled. auto: while other questions are there, "
        "unless the request has a seed",
    )
    temperature: float = Field(
        1.0, gt=0, description="Sampling temperature, unless the request or a champion's evaluation sets it"
    )
    max_tokens: int = Field(2048, ge=1, description="Longest response in tokens; less where the context ends")
    parallel: int = Field(
        32,
        ge=1,
        description="Questions answered at the same time; one of n < 8 samples counts as n/8",
    )
    queue: int = Field(256, ge=0, description="Questions that may wait; others are refused with HTTP 429")
    deadline: float = Field(300.0, gt=0, description="Seconds from a question's arrival to its answer")
    reward_seconds: float = Field(
        60.0, gt=0, description="Longest wait for the reward model, in seconds; after it the majority answers"
    )
    compare_seconds: float = Field(
        1.0, gt=0, description="Longest comparison of a question's answers, in seconds"
    )
    check_seconds: float = Field(
        5.0, gt=0, description="Pause between two checks of policy, reward model and sandbox, in seconds"
    )
    body_bytes: int = Field(1 << 20, ge=1, description="Largest request body, in bytes")
    tokens_at_once: int = Field(
        65_536, ge=1, description="Tokens, including prompts, that the local engine's cache may hold"
    )

    @field_validator("strategy")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        if value is not None and value not in STRATEGIES:
            raise ValueError(f"expected one of {', '.join(STRATEGIES)}")
        return value
