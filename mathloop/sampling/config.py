"""Settings of sampling."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator


class PromptConfig(BaseModel):
    """How a problem is put to a model."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    style: Literal["auto", "chat", "text", "plain"] = Field(
        "auto",
        description="chat: by the chat template; text: few-shot text; auto: text where few_shot is set and "
        "the model has no chat template; plain: nothing around the text, for base models that write",
    )
    instruction: Literal["", "user", "system", "none"] = Field(
        "",
        description="Turn of the instruction to reason and to box the answer; empty: as the model's "
        "tokenizer_config.json says in mathloop_instruction, else user; none: no instruction",
    )
    few_shot: str = Field("", description="Set of solved examples by name, or a .yaml or .json file")
    shots: int = Field(0, ge=0, le=64, description="Examples before the problem in a text prompt")
    chat_shots: int = Field(0, ge=0, le=64, description="Examples as earlier turns of a chat prompt")

    @property
    def by_chat(self) -> bool:
        """Whether the model must have a chat template."""
        return not self.few_shot and self.style != "plain"

    @model_validator(mode="after")
    def _has_examples(self) -> Self:
        if not self.few_shot and (self.shots or self.chat_shots or self.style == "text"):
            raise ValueError("shots and style text need few_shot, the set of examples: add it")
        return self


class SamplingConfig(BaseModel):
    """Decoding and tool-loop limits; the defaults are the public Qwen2.5-Math harness's, bar the lengths."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Literal["transformers", "vllm"] = Field(
        "transformers", description="transformers runs everywhere; vllm is for GPUs and must be installed"
    )
    gpu_memory: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Share of a GPU's memory for vllm; lower it where a trainer shares the GPU",
    )
    engines: int = Field(
        0,
        ge=0,
        le=64,
        description="Engines per machine, each a process with its own GPUs, that share the problems of a "
        "stage; 0: as many as there are GPUs for, or one without GPUs",
    )
    tensor_parallel: int = Field(
        1, ge=1, le=64, description="GPUs per engine, among which vllm splits a model too large for one"
    )
    max_tokens: int = Field(
        2048, ge=1, description="Longest response, in tokens, interpreter output included"
    )
    top_p: float = Field(
        1.0, gt=0, le=1, description="Nucleus sampling: the smallest set of tokens with this probability"
    )
    batch_size: int = Field(256, ge=1, description="Sequences decoded in one batch")
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Type of weights and activations while sampling. A CPU that only emulates bfloat16 "
        "computes in float32, which is faster there (engine transformers)",
    )
    prompt: PromptConfig = PromptConfig()
    stop: tuple[str, ...] = Field(
        (),
        description="Texts that end a response, which they are not part of, besides the model's end tokens",
    )
    tool_calls: int = Field(4, ge=0, description="Most interpreter runs per TIR response")
    tool_seconds: float = Field(5.0, gt=0, description="Wall-clock limit per interpreter run, in seconds")
    tool_chars: int = Field(
        400, ge=1, description="Longest interpreter output shown to the model, in characters"
    )

    @field_validator("stop")
    @classmethod
    def _texts(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not all(value):
            raise ValueError("an empty stop text would end every response at once; remove it")
        return value

    @model_validator(mode="after")
    def _splits_with_vllm(self) -> Self:
        if self.tensor_parallel > 1 and self.engine != "vllm":
            raise ValueError(
                f"tensor_parallel ({self.tensor_parallel}) needs engine vllm: set it, or tensor_parallel to 1"
            )
        return self
