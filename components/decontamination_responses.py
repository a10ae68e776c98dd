"""KFP component: decontamination of training responses."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def decontamination_responses(
    problems: dsl.Input[dsl.Dataset],
    responses: dsl.Input[dsl.Dataset],
    benchmark: dsl.Input[dsl.Dataset],
    kept: dsl.Output[dsl.Dataset],
    removed: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    mode: str = "cot",
) -> None:
    """Removes responses that, together with their problem, match a benchmark problem.

    Args:
        kept: Responses that match no benchmark problem.
        removed: Removed responses, with benchmark item, rule and evidence.
        mode: cot or tir, for the title of the summary.
    """
    from components.running import run
    from mathloop.decontamination import stage
    from mathloop.decontamination.config import DecontaminationConfig

    run(
        stage.run,
        summary,
        problems=problems,
        responses=responses,
        benchmarks=[benchmark],
        out=kept,
        removed=removed,
        config=DecontaminationConfig.model_validate_json(settings),
        name=f"decontamination_{mode}",
    )
