"""KFP component: problems that a model writes."""

from kfp import dsl

from components.component import component
from components.images import SAMPLER_IMAGE


@component(SAMPLER_IMAGE)
def writing(
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    benchmark: dsl.Input[dsl.Dataset],
    problems_summary: dsl.Input[dsl.Markdown],
    extended: dsl.Output[dsl.Dataset],
    dropped: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    benchmarks: str = "{}",
    decontamination: str = "{}",
    pods: str = "",
    store: str = "",
    round_id: str = "",
    seed: int = 0,
) -> None:
    """Has the champion, or another writer, write problems from the given ones; drops those that match a
    benchmark.

    Args:
        policy: The champion's policy.
        problems_summary: Summary of building the problems; this step's own summary carries it.
        extended: The given problems, and then the written ones.
        benchmarks: Settings of the named benchmarks as JSON.
        decontamination: Settings of decontamination as JSON.
    """
    from components.running import run, work_folder
    from mathloop.decontamination.config import DecontaminationConfig
    from mathloop.evaluation.benchmarks.named import NamedBenchmarks
    from mathloop.evaluation.config import BenchmarksConfig
    from mathloop.writing import stage
    from mathloop.writing.config import WritingConfig

    run(
        stage.run,
        summary,
        pods=[pods, store, round_id],
        resumes=True,
        earlier=[problems_summary],
        problems=problems,
        policy=policy,
        benchmark=benchmark,
        out=extended,
        dropped=dropped,
        work=work_folder(),
        named=NamedBenchmarks(BenchmarksConfig.model_validate_json(benchmarks)),
        config=WritingConfig.model_validate_json(settings),
        decontamination=DecontaminationConfig.model_validate_json(decontamination),
        seed=seed,
    )
