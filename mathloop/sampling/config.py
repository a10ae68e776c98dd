"""How a model is sampled."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class SamplingConfig(BaseModel):
    """Decoding and tool-loop limits; the defaults are the public Qwen2.5-Math harness's, bar the lengths."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["transformers", "vllm"] = Field(
        "transformers", description="transformers runs anywhere; vllm is for GPUs and has to be installed"
    )
    gpu_memory: float = Field(
        0.9, gt=0, le=1, description="Share of a GPU that vllm takes; less where a trainer needs it too"
    )
    max_tokens: int = Field(
        2048, ge=1, description="Longest response, in tokens, interpreter output included"
    )
    top_p: float = Field(1.0, gt=0, le=1, description="Nucleus: smallest set of tokens with this probability")
    batch_size: int = Field(256, ge=1, description="Sequences decoded side by side")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="Weights and activations while sampling"
    )
    tool_calls: int = Field(4, ge=0, description="Interpreter runs that one TIR response may ask for")
    tool_seconds: float = Field(5.0, gt=0, description="Wall-clock limit of one interpreter run, in seconds")
    tool_chars: int = Field(400, ge=1, description="Characters of interpreter output that the model is shown")
