"""KFP component: evaluation of the current champion."""

from kfp import dsl

from components.component import component
from components.images import SAMPLER_IMAGE


@component(SAMPLER_IMAGE)
def champion_evaluation(
    benchmark: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    results: dsl.Output[dsl.Dataset],
    page: dsl.Output[dsl.HTML],
    scores: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    benchmarks: str = "{}",
    pods: str = "",
    store: str = "",
    round_id: str = "",
    seed: int = 0,
) -> None:
    """Answers the benchmark with the champion, greedily and sampled, in CoT and TIR.

    Args:
        benchmarks: Settings of the named benchmarks as JSON.
        results: Every response with its verdict and reward.
        page: The report of the evaluation.
    """
    from components.running import run
    from mathloop.evaluation.config import BenchmarksConfig, EvaluationConfig
    from mathloop.reports import evaluation as stage

    run(
        stage.run,
        summary,
        pods=[pods, store, round_id],
        scores=scores,
        benchmark=benchmark,
        models={"champion": policy},
        reward_model=reward_model,
        out=results,
        page=page,
        config=EvaluationConfig.model_validate_json(settings),
        named=BenchmarksConfig.model_validate_json(benchmarks),
        seed=seed,
    )
