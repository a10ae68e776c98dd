"""What the solver allows itself and those who ask it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

MODEL = "mathloop"
"""The model's name in the OpenAI API and in KServe."""
KEY_VARIABLE = "MATHLOOP_API_KEY"
"""Where it is set, the server asks for it as a bearer, and `mathloop ask` sends it."""
ENDPOINT_KEY_VARIABLE = "MATHLOOP_ENDPOINT_API_KEY"
"""Where it is set, it is sent as a bearer to the policy's and the reward model's endpoint."""


class ServingConfig(BaseModel):
    """Defaults of a question, and the bounds of the server."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int = Field(8, ge=1, description="Responses drawn for a problem, unless the request says")
    most_samples: int = Field(64, ge=1, description="Responses that a request may ask for")
    temperature: float = Field(
        1.0, gt=0, description="Sampling temperature, as in the evaluation of champions"
    )
    max_tokens: int = Field(2048, ge=1, description="Longest response in tokens; less where the context ends")
    queue: int = Field(16, ge=0, description="Questions that may wait; one more is refused with 503")
    deadline: float = Field(300.0, gt=0, description="Seconds from a question's arrival to its answer")
    body_bytes: int = Field(1 << 20, ge=1, description="Largest request body, in bytes")
    tokens_at_once: int = Field(
        65_536, ge=1, description="Tokens, prompts included, that the local engine decodes side by side"
    )
