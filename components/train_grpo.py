"""KFP component: reinforcement learning."""

from kfp import dsl

from components.images import TRAINER_IMAGE


@dsl.component(base_image=TRAINER_IMAGE, packages_to_install=[], install_kfp_package=False)
def train_grpo(
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    model: dsl.Output[dsl.Model],
    rollouts: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Trains the policy with GRPO on the reward model's score and the verifier's verdict.

    Args:
        problems: Problems to answer.
        policy: Model to start from.
        reward_model: Model that scores responses.
        model: The trained policy: the challenger.
        rollouts: Every response with its verdict, rewards and advantage, as Parquet.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    from pathlib import Path

    from components.ports import record, work_folder
    from mathloop.training.config import GRPOConfig
    from mathloop.training.launching import train

    report = train(
        "grpo",
        problems=Path(problems.path),
        policy=Path(policy.path),
        reward_model=Path(reward_model.path),
        model=Path(model.path),
        rollouts=Path(rollouts.path),
        work=work_folder(),
        config=GRPOConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
