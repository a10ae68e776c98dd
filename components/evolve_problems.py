"""KFP component: new problems out of old ones."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def evolve_problems(
    problems: dsl.Input[dsl.Dataset],
    evolved: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Evolves problems by changing their numbers; keeps the given ones too.

    Args:
        problems: Problems to evolve.
        evolved: The given problems and the evolved ones.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.problems import evolve
    from mathloop.problems.config import EvolutionConfig

    report = evolve.run(
        problems=Path(problems.path),
        out=Path(evolved.path),
        config=EvolutionConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
