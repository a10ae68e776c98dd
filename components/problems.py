"""KFP component: the round's training problems and benchmark."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def problems(
    problems: dsl.Output[dsl.Dataset],
    benchmark: dsl.Output[dsl.Dataset],
    dropped: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    problems_file: str = "",
    settings: str = "{}",
    benchmarks: str = "{}",
    evolution: str = "{}",
    decontamination: str = "{}",
    seed: int = 0,
    cache_key: str = "",
) -> None:
    """Builds problems and benchmark, evolves the problems, and removes those that match a benchmark.

    Args:
        problems: Training problems.
        problems_file: A .jsonl or .parquet file of problems; empty for the built-in generator.
        benchmarks: Settings of the named benchmarks as JSON.
        evolution: Settings of evolution as JSON.
        decontamination: Settings of decontamination as JSON.
    """
    from pathlib import Path

    from components.running import run, work_folder
    from mathloop.decontamination.config import DecontaminationConfig
    from mathloop.evaluation.benchmarks.named import NamedBenchmarks
    from mathloop.evaluation.config import BenchmarksConfig
    from mathloop.problems.config import EvolutionConfig, ProblemsConfig
    from mathloop.synthesis import problems as stage

    run(
        stage.run,
        summary,
        problems_file=Path(problems_file) if problems_file else None,
        out=problems,
        benchmark=benchmark,
        dropped=dropped,
        work=work_folder(),
        named=NamedBenchmarks(BenchmarksConfig.model_validate_json(benchmarks)),
        config=ProblemsConfig.model_validate_json(settings),
        evolution=EvolutionConfig.model_validate_json(evolution),
        decontamination=DecontaminationConfig.model_validate_json(decontamination),
        seed=seed,
    )
