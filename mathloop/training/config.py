"""Settings of the four recipes. None of this needs torch."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from mathloop.sampling.config import SamplingConfig


class OptimizerConfig(BaseModel):
    """AdamW or Muon, with linear warmup and cosine decay to a floor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    optimizer: Literal["adamw", "muon"] = Field(
        "adamw", description="muon: Muon for the matrices between embedding and logits, AdamW for the rest"
    )

    learning_rate: float = Field(1e-3, gt=0, description="Highest learning rate")
    final_learning_rate: float = Field(1e-5, ge=0, description="Learning rate of the last step")
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
    micro_batch_size: int = Field(16, ge=1, description="Documents a forward pass, of like lengths")
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
    micro_batch_size: int = Field(64, ge=1, description="Responses a forward pass")
    max_tokens: int = Field(4096, ge=8, description="Longer samples are dropped and counted")
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=5e-4, final_learning_rate=5e-5)


class RewardModelConfig(BaseModel):
    """Listwise reward model (Paper §3.2)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(2, ge=1, description="Passes over the problems")
    batch_size: int = Field(16, ge=1, description="Problems a step, each with all its responses")
    max_tokens: int = Field(4096, ge=8, description="Longer responses are cut at the front")
    heldout_share: float = Field(0.1, gt=0, lt=1, description="Share of the problems for pair accuracy")
    optimizer: OptimizerConfig = OptimizerConfig(learning_rate=5e-4, final_learning_rate=5e-5)


class GRPOConfig(BaseModel):
    """Group-relative policy optimization with the shaped reward (Paper §3.3)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(60, ge=1, description="Rollout batches")
    problems_per_step: int = Field(16, ge=1, description="Groups a rollout batch")
    group: int = Field(8, ge=2, description="Responses a problem")
    updates: int = Field(1, ge=1, description="Optimizer steps a rollout batch")
    tir_share: float = Field(0.25, ge=0, le=1, description="Share of the rollout batches in TIR")
    temperature: float = Field(1.0, gt=0, description="Sampling temperature")
    clip: float = Field(0.2, gt=0, lt=1, description="ε of the clipped ratio")
    beta: float = Field(1e-3, ge=0, description="Weight of the KL to the starting policy")
    alpha: float = Field(0.5, ge=0, description="α of the shaped reward σ(α·r_m) + (r_v − 1)")
    sampling: SamplingConfig = Field(
        SamplingConfig(max_tokens=160),
        description="Of the rollouts. They are drawn with the weights being trained: dtype does not apply",
    )
    optimizer: OptimizerConfig = OptimizerConfig(
        learning_rate=1e-4, final_learning_rate=5e-5, weight_decay=0.0, checkpoint_steps=10
    )
