"""mathloop's side of `mathloop benchmark train`: the recipes, called as in a round."""

from __future__ import annotations

from collections.abc import Callable

from mathloop.sampling.config import SamplingConfig
from mathloop.training import grpo, reward_model, sft
from mathloop.training.config import EngineConfig, GRPOConfig, OptimizerConfig, RewardModelConfig, SFTConfig
from pipelines.benchmarks.training_inputs import BETA, CLIP, LEARNING_RATE, Inputs, Sizes, Work

OPTIMIZER = OptimizerConfig(learning_rate=LEARNING_RATE, checkpoint_steps=1_000_000)
"""No checkpoints, since the peer writes none either."""


def train_sft(inputs: Inputs, sizes: Sizes, seed: int) -> Work:
    report = sft.run(
        problems=inputs.problems,
        responses=[inputs.solutions],
        policy=inputs.policy,
        model=inputs.work / "model",
        work=inputs.work,
        config=SFTConfig(epochs=1, batch_size=sizes.sft_batch, optimizer=OPTIMIZER, engine=_engine(sizes)),
        seed=seed,
    )
    # Batches are random, so that a step has the mean number of tokens in expectation.
    return Work([report.values["tokens"] / sizes.sft_steps] * sizes.sft_steps)


def train_reward_model(inputs: Inputs, sizes: Sizes, seed: int) -> Work:
    reward_model.run(
        problems=inputs.problems,
        responses=inputs.labeled,
        policy=inputs.policy,
        model=inputs.work / "model",
        work=inputs.work,
        config=RewardModelConfig(
            epochs=1,
            batch_size=sizes.reward_batch,
            heldout_share=1e-9,
            optimizer=OPTIMIZER,
            engine=_engine(sizes),
        ),
        seed=seed,
    )
    return Work([sizes.reward_batch * sizes.responses] * sizes.reward_steps)


def train_grpo(inputs: Inputs, sizes: Sizes, seed: int) -> Work:
    report = grpo.run(
        problems=inputs.problems,
        policy=inputs.policy,
        reward_model=inputs.reward_model,
        model=inputs.work / "model",
        work=inputs.work,
        config=GRPOConfig(
            steps=sizes.grpo_steps,
            problems_per_step=sizes.grpo_batch,
            group_size=sizes.group,
            tir_share=0.0,
            clip=CLIP,
            beta=BETA,
            sampling=SamplingConfig(max_tokens=sizes.completion),
            optimizer=OPTIMIZER,
            engine=_engine(sizes),
        ),
        seed=seed,
    )
    return Work([sizes.grpo_batch] * sizes.grpo_steps, report.values["response tokens"])


RECIPES: dict[str, Callable[[Inputs, Sizes, int], Work]] = {
    "sft": train_sft,
    "reward_model": train_reward_model,
    "grpo": train_grpo,
}


def _engine(sizes: Sizes) -> EngineConfig:
    return EngineConfig.model_validate({"dtype": sizes.dtype})
