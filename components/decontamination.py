"""KFP component: decontamination of training responses."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def decontamination(
    problems: dsl.Input[dsl.Dataset],
    cot_responses: dsl.Input[dsl.Dataset],
    tir_responses: dsl.Input[dsl.Dataset],
    benchmark: dsl.Input[dsl.Dataset],
    problems_summary: dsl.Input[dsl.Markdown],
    cot_summary: dsl.Input[dsl.Markdown],
    tir_summary: dsl.Input[dsl.Markdown],
    cot: dsl.Output[dsl.Dataset],
    tir: dsl.Output[dsl.Dataset],
    dropped: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    benchmarks: str = "{}",
) -> None:
    """Removes responses that, together with their problem, match a benchmark problem.

    Args:
        cot_responses: CoT responses.
        tir_responses: TIR responses.
        problems_summary: Summary of building the problems; this step's own summary carries it.
        cot_summary: Summary of sampling CoT responses; carried too.
        tir_summary: Summary of sampling TIR responses; carried too.
        cot: CoT responses that match no benchmark problem.
        tir: TIR responses that match no benchmark problem.
        benchmarks: Settings of the named benchmarks as JSON.
        dropped: Removed responses, with benchmark item, rule and evidence.
    """
    from components.running import run, work_folder
    from mathloop.decontamination.config import DecontaminationConfig
    from mathloop.evaluation.benchmarks.named import NamedBenchmarks
    from mathloop.evaluation.config import BenchmarksConfig
    from mathloop.synthesis import decontamination as stage

    run(
        stage.run,
        summary,
        earlier=[problems_summary, cot_summary, tir_summary],
        problems=problems,
        responses={"cot": cot_responses, "tir": tir_responses},
        out={"cot": cot, "tir": tir},
        dropped=dropped,
        benchmark=benchmark,
        work=work_folder(),
        named=NamedBenchmarks(BenchmarksConfig.model_validate_json(benchmarks)),
        config=DecontaminationConfig.model_validate_json(settings),
    )
