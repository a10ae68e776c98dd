"""KFP component: problem selection for GRPO."""

from kfp import dsl

from components.component import component
from components.images import SAMPLER_IMAGE


@component(SAMPLER_IMAGE)
def selection(
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    sft_summary: dsl.Input[dsl.Markdown],
    selected: dsl.Output[dsl.Dataset],
    dropped: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    pods: str = "",
    store: str = "",
    round_id: str = "",
    seed: int = 0,
) -> None:
    """Keeps problems that the policy solves sometimes: by default, 2 to 5 of 8 samples correct.

    Args:
        sft_summary: Summary of training the policy; this step's own summary carries it.
        selected: The problems for GRPO.
    """
    from components.running import run
    from mathloop.synthesis import selection as stage
    from mathloop.synthesis.config import SelectionConfig

    run(
        stage.run,
        summary,
        pods=[pods, store, round_id],
        earlier=[sft_summary],
        problems=problems,
        policy=policy,
        out=selected,
        dropped=dropped,
        config=SelectionConfig.model_validate_json(settings),
        seed=seed,
    )
