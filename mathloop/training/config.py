"""Settings of the four recipes. None of this needs torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mathloop.sampling.config import SamplingConfig

CHECKPOINTS_VARIABLE = "MATHLOOP_CHECKPOINTS"
"""Names a store that keeps checkpoints beyond this machine; without it they are in the work folder only."""


class EngineConfig(BaseModel):
    """How the work is laid on processors; none of it changes what is learned, beyond rounding."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    processes: int = Field(
        0, ge=0, le=64, description="Processes on this machine; 0: one a GPU, and one where there is none"
    )
    zero: Literal[0, 1, 2, 3] = Field(
        0,
        description="DeepSpeed ZeRO stage: 1 shares the optimizer's state among the ranks, 2 gradients too, "
        "3 weights too; 0: every rank has all of it, without DeepSpeed",
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        "float32", description="Of the arithmetic; weights and optimizer stay float32 in either"
    )
    micro_batch_tokens: int = Field(
        8192, ge=16, description="Tokens of one forward and backward pass; a longer sample stands alone"
    )
    activation_checkpointing: bool = Field(
        False, description="Activations made again on the way back: less memory, a third more arithmetic"
    )
    attention: Literal["packed", "eager", "flash_attention_2"] = Field(
        "packed", description="packed: samples side by side, no padding; the others pad each micro-batch"
    )
    keep: int = Field(2, ge=1, description="Newest checkpoints that are kept")
    tensorboard: bool = Field(False, description="Curves for TensorBoard too, in the work folder")
    peak_tflops: float | None = Field(
        None,
        gt=0,
        description="Peak of one device in TFLOP/s, for the utilization; null: known for common GPUs",
    )


class LoRAConfig(BaseModel):
    """Low-rank adapters on the linear layers; merged into the weights at the end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: int = Field(16, ge=1, description="Rank of each adapter")
    alpha: float = Field(32.0, gt=0, description="Scale of the adapters, divided by the rank")
    targets: tuple[str, ...] = Field(
        (), description="Names of the layers, such as q_proj; none: every linear layer but the head"
    )


class OptimizerConfig(BaseModel):
    """AdamW or Muon, with linear warmup and decay to a floor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: Muon for the matrices between embedding and logits, AdamW for the rest"
    )

    learning_rate: float = Field(1e-3, gt=0, description="Highest learning rate")
    final_learning_rate: float = Field(1e-5, ge=0, description="Learning rate of the last step")
    schedule: Literal["cosine", "linear"] = Field("cosine", description="Form of the decay to the floor")
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of the steps that warm up")
    weight_decay: float = Field(0.01, ge=0, description="Decoupled weight decay, on matrices only")
    clip: float = Field(1.0, gt=0, description="Largest gradient norm")
    checkpoint_steps: int = Field(50, ge=1, description="Steps between checkpoints")


class PretrainConfig(BaseModel):
    """A small Qwen2 from random weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    vocabulary: int = Field(1024, ge=300, description="Most tokens of the byte-level BPE")
    hidden: int = Field(128, ge=16, description="Width of the residual stream")
    layers: int = Field(4, ge=1, description="Decoder layers")
    heads: int = Field(4, ge=1, description="Attention heads")
    steps: int = Field(900, ge=1, description="Optimizer steps")
    batch_size: int = Field(32, ge=1, description="Documents a step")
    problem_weight: float = Field(
        0.1, ge=0, le=1, description="Weight of the problem's tokens in the loss: names and numbers are noise"
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
    def _heads_share_hidden(self) -> Self:
        # Rotary positions turn a head's numbers in pairs.
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden ({self.hidden}) must be a multiple of twice the heads (2 x {self.heads}): change one"
            )
        return self


class SFTConfig(BaseModel):
    """CoT and TIR trained jointly, loss on what the model wrote (Paper §3.1.3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(2, ge=1, description="Passes over the responses")
    batch_size: int = Field(64, ge=1, description="Responses a step")
    max_tokens: int = Field(4096, ge=8, description="Longer samples are dropped and counted")
    lora: LoRAConfig | None = Field(None, description="Adapters instead of all weights; null: all weights")
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=5e-4, final_learning_rate=5e-5)
    engine: EngineConfig = EngineConfig()


class RewardModelConfig(BaseModel):
    """Listwise reward model (Paper §3.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(2, ge=1, description="Passes over the problems")
    batch_size: int = Field(16, ge=1, description="Problems a step, each with all its responses")
    max_tokens: int = Field(4096, ge=8, description="Longer responses are cut at the front")
    heldout_share: float = Field(0.1, gt=0, lt=1, description="Share of the problems for pair accuracy")
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=5e-4, final_learning_rate=5e-5)
    engine: EngineConfig = EngineConfig()


class GRPOConfig(BaseModel):
    """Group-relative policy optimization with the shaped reward (Paper §3.3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(60, ge=1, description="Rollout batches")
    problems_per_step: int = Field(16, ge=1, description="Groups a rollout batch")
    group: int = Field(8, ge=2, description="Responses a problem")
    updates: int = Field(
        1, ge=1, description="Optimizer steps a rollout batch, each on its share of the groups"
    )
    passes: int = Field(1, ge=1, description="Times that each rollout batch is learned from")
    tir_share: float = Field(0.25, ge=0, le=1, description="Share of the rollout batches in TIR")
    temperature: float = Field(1.0, gt=0, description="Sampling temperature")
    clip: float = Field(0.2, gt=0, lt=1, description="ε of the clipped ratio")
    importance_cap: float = Field(
        2.0, gt=0, description="Most that a token weighs whose sampler gave it less than the trainer does"
    )
    overlong: Literal["keep", "mask", "punish"] = Field(
        "keep",
        description="Responses cut at max_tokens: keep their reward; mask them out of the loss; "
        "punish takes up to 1 from the reward of all that come within overlong_buffer tokens of the cut",
    )
    overlong_buffer: int = Field(128, ge=1, description="Tokens before the cut that punish counts")
    beta: float = Field(1e-3, ge=0, description="Weight of the KL to the starting policy")
    alpha: float = Field(0.5, ge=0, description="α of the shaped reward σ(α·r_m) + (r_v − 1)")
    sampling: SamplingConfig = Field(
        SamplingConfig(max_tokens=160),
        description="Of the rollouts, which are drawn with the weights being trained: transformers takes "
        "these as they are (dtype does not apply), vllm gets a copy before every batch",
    )
    lora: LoRAConfig | None = Field(None, description="Adapters instead of all weights; null: all weights")
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=1e-4, final_learning_rate=5e-5, weight_decay=0.0, checkpoint_steps=10
    )
    engine: EngineConfig = EngineConfig()

    @model_validator(mode="after")
    def _updates_share_groups(self) -> Self:
        if self.problems_per_step % self.updates:
            raise ValueError(
                f"problems_per_step ({self.problems_per_step}) must be a multiple of updates "
                f"({self.updates}): change one"
            )
        return self
