"""KFP component: the reward model."""

from kfp import dsl

from components.images import TRAINER_IMAGE


@dsl.component(base_image=TRAINER_IMAGE, packages_to_install=[], install_kfp_package=False)
def train_reward_model(
    problems: dsl.Input[dsl.Dataset],
    responses: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Trains the reward model to rank right responses above wrong ones, problem by problem.

    Args:
        problems: Problems that the responses answer.
        responses: Labelled responses.
        policy: Model whose weights it starts from.
        model: The reward model.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    from pathlib import Path

    from components.ports import record, work_folder
    from mathloop.training.config import RewardModelConfig
    from mathloop.training.launching import train

    report = train(
        "reward_model",
        problems=Path(problems.path),
        responses=Path(responses.path),
        policy=Path(policy.path),
        model=Path(model.path),
        work=work_folder(),
        config=RewardModelConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
