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
    seed: int = 0,
    cache_key: str = "",
) -> None:
    """Builds the training problems and the benchmark, from a file or from the built-in generator.

    Args:
        problems: Training problems.
        problems_file: A .jsonl or .parquet file of problems; empty for the built-in generator.
    """
    from pathlib import Path

    from components.running import run
    from mathloop.problems import build
    from mathloop.problems.config import ProblemsConfig

    run(
        build.run,
        summary,
        problems_file=Path(problems_file) if problems_file else None,
        out=problems,
        benchmark=benchmark,
        dropped=dropped,
        config=ProblemsConfig.model_validate_json(settings),
        seed=seed,
    )
