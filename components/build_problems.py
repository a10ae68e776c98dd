"""KFP component: the round's training problems and benchmark."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def build_problems(
    problems: dsl.Output[dsl.Dataset],
    benchmark: dsl.Output[dsl.Dataset],
    rejects: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    problems_file: str = "",
    config: str = "{}",
    seed: int = 0,
    cache_key: str = "",
) -> None:
    """Builds the training problems and the benchmark, from a file or from the built-in generator.

    Args:
        problems: Training problems.
        benchmark: Problems that models are measured on.
        rejects: Rows that were refused, with reasons.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        problems_file: A .jsonl or .parquet file of problems; empty for the built-in generator.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
        cache_key: What KFP's cache has to tell apart and cannot see; preflight makes it.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.problems import build
    from mathloop.problems.config import ProblemsConfig

    report = build.run(
        problems_file=Path(problems_file) if problems_file else None,
        out=Path(problems.path),
        benchmark=Path(benchmark.path),
        rejects=Path(rejects.path),
        config=ProblemsConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
