"""KFP component: what training data must not contain, without answers."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def statements(
    statements: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    problems_file: str = "",
    settings: str = "{}",
    benchmarks: str = "{}",
    seed: int = 0,
    cache_key: str = "",
) -> None:
    """Writes the statements of every benchmark problem, without its answer.

    Args:
        statements: Id, statement and language of each.
        problems_file: Where rounds take their benchmark from; empty for the built-in generator.
        benchmarks: Settings of the named benchmarks as JSON.
    """
    from pathlib import Path

    from components.running import run, work_folder
    from mathloop.evaluation.benchmarks.named import NamedBenchmarks
    from mathloop.evaluation.config import BenchmarksConfig
    from mathloop.problems.config import ProblemsConfig
    from mathloop.synthesis import statements as stage

    run(
        stage.run,
        summary,
        problems_file=Path(problems_file) if problems_file else None,
        out=statements,
        work=work_folder(),
        config=ProblemsConfig.model_validate_json(settings),
        named=NamedBenchmarks(BenchmarksConfig.model_validate_json(benchmarks)),
        seed=seed,
    )
