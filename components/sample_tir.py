"""KFP component: tool-integrated responses to learn from."""

from kfp import dsl

from components.images import SAMPLER_IMAGE


@dsl.component(base_image=SAMPLER_IMAGE, packages_to_install=[], install_kfp_package=False)
def sample_tir(
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    responses: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Samples responses that calculate with Python and selects those to learn from.

    Args:
        problems: Problems to answer.
        policy: Model that answers.
        responses: Selected responses.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.synthesis import tir
    from mathloop.synthesis.config import TIRConfig

    report = tir.run(
        problems=Path(problems.path),
        policy=Path(policy.path),
        out=Path(responses.path),
        config=TIRConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
