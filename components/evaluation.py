"""KFP component: evaluation of base, champion, SFT model and challenger."""

from kfp import dsl

from components.component import component
from components.images import SAMPLER_IMAGE


@component(SAMPLER_IMAGE)
def evaluation(
    store: str,
    champion: str,
    benchmark: dsl.Input[dsl.Dataset],
    champion_policy: dsl.Input[dsl.Model],
    sft_policy: dsl.Input[dsl.Model],
    challenger: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    reward_model_summary: dsl.Input[dsl.Markdown],
    selection_summary: dsl.Input[dsl.Markdown],
    grpo_summary: dsl.Input[dsl.Markdown],
    results: dsl.Output[dsl.Dataset],
    scores: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    benchmarks: str = "{}",
    pods: str = "",
    round_id: str = "",
    seed: int = 0,
) -> None:
    """Answers the benchmark with every model of the round, greedily and sampled, in CoT and TIR.

    Args:
        champion_policy: The champion's policy.
        sft_policy: The policy after SFT.
        challenger: The policy after reinforcement learning.
        reward_model_summary: Summaries of sampling training data for the reward model, and of training it.
        selection_summary: Summaries of SFT and of selecting the problems for GRPO.
        grpo_summary: Summary of GRPO.
        benchmarks: Settings of the named benchmarks as JSON.
        results: Every response with its verdict and reward.
    """
    from components.running import run, work_folder
    from mathloop.evaluation import evaluate
    from mathloop.evaluation.config import BenchmarksConfig, EvaluationConfig

    run(
        evaluate.run_round,
        summary,
        pods=[pods, store, round_id],
        scores=scores,
        earlier=[selection_summary, reward_model_summary, grpo_summary],
        store_url=store,
        champion=champion,
        benchmark=benchmark,
        models={"sft": sft_policy, "challenger": challenger, "champion": champion_policy},
        work=work_folder(),
        reward_model=reward_model,
        out=results,
        config=EvaluationConfig.model_validate_json(settings),
        named=BenchmarksConfig.model_validate_json(benchmarks),
        seed=seed,
    )
