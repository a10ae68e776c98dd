"""KFP component: right and wrong responses for the reward model."""

from kfp import dsl

from components.images import SAMPLER_IMAGE


@dsl.component(base_image=SAMPLER_IMAGE, packages_to_install=[], install_kfp_package=False)
def sample_reward_data(
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    responses: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Samples responses to each problem and labels them right or wrong.

    Args:
        problems: Problems to answer.
        policy: Model that answers.
        responses: Responses with verdicts, right and wrong.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.synthesis import reward_data
    from mathloop.synthesis.config import RewardDataConfig

    report = reward_data.run(
        problems=Path(problems.path),
        policy=Path(policy.path),
        out=Path(responses.path),
        config=RewardDataConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
