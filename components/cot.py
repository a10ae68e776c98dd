"""KFP component: chain-of-thought (CoT) training responses."""

from kfp import dsl

from components.component import component
from components.images import SAMPLER_IMAGE


@component(SAMPLER_IMAGE)
def cot(
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    champion_summary: dsl.Input[dsl.Markdown],
    responses: dsl.Output[dsl.Dataset],
    dropped: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    pods: str = "",
    store: str = "",
    round_id: str = "",
    seed: int = 0,
) -> None:
    """Samples chain-of-thought (CoT) responses and selects those to train on.

    Args:
        champion_summary: Summary of fetching the champion; this step's own summary carries it.
    """
    from components.running import model_or_none, run
    from mathloop.synthesis import cot as stage
    from mathloop.synthesis.config import CoTConfig

    run(
        stage.run,
        summary,
        pods=[pods, store, round_id],
        earlier=[champion_summary],
        problems=problems,
        policy=policy,
        reward_model=model_or_none(reward_model),
        out=responses,
        dropped=dropped,
        config=CoTConfig.model_validate_json(settings),
        seed=seed,
    )
