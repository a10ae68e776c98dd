"""KFP component: pretraining text."""

from kfp import dsl

from components.component import component
from components.images import TRAINER_IMAGE


@component(TRAINER_IMAGE)
def corpus(
    corpus: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    decontamination: str = "{}",
    benchmarks: str = "{}",
    seed: int = 0,
    cache_key: str = "",
) -> None:
    """Builds the pretraining corpus from its sources, or writes the nano world's if there are none.

    Args:
        corpus: Documents, as Parquet.
        decontamination: Settings of decontamination as JSON.
        benchmarks: Settings of the named benchmarks as JSON; no document may contain their problems.
    """
    from components.running import run, work_folder
    from mathloop.corpus import build
    from mathloop.corpus.config import CorpusConfig
    from mathloop.decontamination.config import DecontaminationConfig
    from mathloop.evaluation.benchmarks.named import NamedBenchmarks
    from mathloop.evaluation.config import BenchmarksConfig

    run(
        build.run,
        summary,
        out=corpus,
        work=work_folder(),
        config=CorpusConfig.model_validate_json(settings),
        decontamination_config=DecontaminationConfig.model_validate_json(decontamination),
        benchmarks=NamedBenchmarks(BenchmarksConfig.model_validate_json(benchmarks)).every(),
        seed=seed,
    )
