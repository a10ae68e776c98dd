"""KFP component: tool-integrated (TIR) training responses."""

from kfp import dsl

from components.component import component
from components.images import SAMPLER_IMAGE


@component(SAMPLER_IMAGE)
def tir(
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    responses: dsl.Output[dsl.Dataset],
    dropped: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    seed: int = 0,
) -> None:
    """Samples tool-integrated (TIR) responses, which call Python, and selects those to train on."""
    from components.running import run
    from mathloop.synthesis import tir as stage
    from mathloop.synthesis.config import TIRConfig

    run(
        stage.run,
        summary,
        problems=problems,
        policy=policy,
        out=responses,
        dropped=dropped,
        config=TIRConfig.model_validate_json(settings),
        seed=seed,
    )
