"""KFP component: decontamination of training problems."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def decontamination_problems(
    problems: dsl.Input[dsl.Dataset],
    benchmark: dsl.Input[dsl.Dataset],
    kept: dsl.Output[dsl.Dataset],
    removed: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
) -> None:
    """Removes training problems that match a benchmark problem.

    Args:
        kept: Problems that match no benchmark problem.
        removed: Removed problems, with benchmark item, rule and evidence.
    """
    from components.running import run
    from mathloop.decontamination import stage
    from mathloop.decontamination.config import DecontaminationConfig

    run(
        stage.run,
        summary,
        problems=problems,
        responses=None,
        benchmarks=[benchmark],
        out=kept,
        removed=removed,
        config=DecontaminationConfig.model_validate_json(settings),
        name="decontamination_problems",
    )
