"""KFP component: the promotion gate."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def judge_challenger(
    benchmark: dsl.Input[dsl.Dataset],
    results: dsl.Input[dsl.Dataset],
    verdict: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Decides whether the challenger is measurably better than the champion.

    Args:
        benchmark: Problems that were answered.
        results: Answers of every model.
        verdict: The decision and its reasons, as JSON.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.evaluation import gate
    from mathloop.evaluation.config import GateConfig

    report = gate.run(
        benchmark=Path(benchmark.path),
        results=Path(results.path),
        out=Path(verdict.path),
        config=GateConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
