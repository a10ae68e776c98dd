"""KFP component: the promotion gate."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def gate(
    benchmark: dsl.Input[dsl.Dataset],
    results: dsl.Input[dsl.Dataset],
    verdict: dsl.Output[dsl.Artifact],
    scores: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    seed: int = 0,
) -> None:
    """Decides whether the challenger is significantly better than the champion.

    Args:
        results: Responses of every model.
        verdict: The decision and its reasons, as JSON.
    """
    from components.running import run
    from mathloop.evaluation import gate as stage
    from mathloop.evaluation.config import GateConfig

    run(
        stage.run,
        summary,
        scores=scores,
        benchmark=benchmark,
        results=results,
        out=verdict,
        config=GateConfig.model_validate_json(settings),
        seed=seed,
    )
