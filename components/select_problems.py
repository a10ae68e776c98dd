"""KFP component: problems that GRPO can learn from."""

from kfp import dsl

from components.images import SAMPLER_IMAGE


@dsl.component(base_image=SAMPLER_IMAGE, packages_to_install=[], install_kfp_package=False)
def select_problems(
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    selected: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Keeps the problems that the policy solves sometimes: 2 to 5 of 8 samples right, by default.

    Args:
        problems: Problems to choose from.
        policy: Model that answers.
        selected: Problems kept.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.synthesis import selection
    from mathloop.synthesis.config import SelectionConfig

    report = selection.run(
        problems=Path(problems.path),
        policy=Path(policy.path),
        out=Path(selected.path),
        config=SelectionConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
