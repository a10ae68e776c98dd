"""KFP component: training problems without what the benchmark holds."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def decontaminate_problems(
    problems: dsl.Input[dsl.Dataset],
    benchmark: dsl.Input[dsl.Dataset],
    kept: dsl.Output[dsl.Dataset],
    removed: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
) -> None:
    """Removes training problems that a benchmark problem contaminates.

    Args:
        problems: Problems to check.
        benchmark: Problems that must not be trained on.
        kept: Problems that stay.
        removed: Problems that went, with the rule and the evidence.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.decontamination import stage

    report = stage.run(
        problems=Path(problems.path),
        responses=None,
        benchmarks=[Path(benchmark.path)],
        out=Path(kept.path),
        removed=Path(removed.path),
        config=stage.Config.model_validate_json(config),
    )
    record(report, metrics, stage_report)
