"""KFP component: the promotion gate, publication and the round's report."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def judgment(
    store: str,
    round_id: str,
    champion: str,
    challenger: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    benchmark: dsl.Input[dsl.Dataset],
    results: dsl.Input[dsl.Dataset],
    preflight_summary: dsl.Input[dsl.Markdown],
    data_summary: dsl.Input[dsl.Markdown],
    learning_summary: dsl.Input[dsl.Markdown],
    page: dsl.Output[dsl.HTML],
    scores: dsl.Output[dsl.Metrics],
    verdict: dsl.Output[dsl.Artifact],
    published: dsl.Output[dsl.Artifact],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    configuration: str = "{}",
    tracking: str = "{}",
    seed: int = 0,
) -> None:
    """Decides whether the challenger is significantly better, promotes it if so, and writes the report.

    Args:
        challenger: The policy after reinforcement learning.
        reward_model: Its reward model.
        results: Responses of every model.
        preflight_summary: Summary of the checks.
        data_summary: Summaries of champion, problems, responses and decontamination.
        learning_summary: Summaries of training and evaluation.
        page: The round's report.
        verdict: The gate's decision and its reasons, as JSON.
        published: Whether it was promoted, its number and the reason, as JSON.
        configuration: All settings of the run as JSON; the report lists them.
        tracking: Settings of the experiment trackers as JSON.
    """
    from components.running import run
    from mathloop.evaluation.config import GateConfig
    from mathloop.reports import judgment as stage
    from mathloop.tracking.config import TrackingConfig

    run(
        stage.run,
        summary,
        scores=scores,
        describes=[published],
        store_url=store,
        round_id=round_id,
        champion=champion,
        policy=challenger,
        reward_model=reward_model,
        benchmark=benchmark,
        results=results,
        summaries=[preflight_summary, data_summary, learning_summary],
        verdict=verdict,
        published=published,
        page=page,
        config=GateConfig.model_validate_json(settings),
        configuration=configuration,
        tracking=TrackingConfig.model_validate_json(tracking),
        seed=seed,
    )
