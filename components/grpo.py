"""KFP component: reinforcement learning with GRPO."""

from kfp import dsl

from components.component import component
from components.images import TRAINER_IMAGE


@component(TRAINER_IMAGE)
def grpo(
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    challenger: dsl.Output[dsl.Model],
    rollouts: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    seed: int = 0,
) -> None:
    """Trains the policy with GRPO on the reward model's score and the verifier's verdict.

    Args:
        policy: Model to start from.
        challenger: The trained policy.
        rollouts: Every response with its verdict, rewards and advantage, as Parquet.
    """
    from functools import partial

    from components.running import run, work_folder
    from mathloop.training.config import GRPOConfig
    from mathloop.training.processes import train

    run(
        partial(train, "grpo"),
        summary,
        describes=[challenger],
        problems=problems,
        policy=policy,
        reward_model=reward_model,
        model=challenger,
        rollouts=rollouts,
        work=work_folder(),
        config=GRPOConfig.model_validate_json(settings),
        seed=seed,
    )
