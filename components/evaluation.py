"""KFP component: evaluation of base, champion, SFT model and challenger."""

from kfp import dsl

from components.component import component
from components.images import SAMPLER_IMAGE


@component(SAMPLER_IMAGE)
def evaluation(
    benchmark: dsl.Input[dsl.Dataset],
    champion: dsl.Input[dsl.Artifact],
    base_policy: dsl.Input[dsl.Model],
    champion_policy: dsl.Input[dsl.Model],
    sft_policy: dsl.Input[dsl.Model],
    challenger_policy: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    results: dsl.Output[dsl.Dataset],
    scores: dsl.Output[dsl.Metrics],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    seed: int = 0,
) -> None:
    """Answers the benchmark with every model of the round, greedily and sampled, in CoT and TIR.

    Args:
        champion: The champion that the round started from, as JSON.
        base_policy: The pretrained model.
        champion_policy: The champion's policy.
        sft_policy: The policy after SFT.
        challenger_policy: The policy after reinforcement learning.
        results: Every response with its verdict and reward.
    """
    from components.running import run
    from mathloop.evaluation import evaluate
    from mathloop.evaluation.config import EvaluationConfig

    run(
        evaluate.run_round,
        summary,
        scores=scores,
        benchmark=benchmark,
        champion=champion,
        models={
            "base": base_policy,
            "sft": sft_policy,
            "challenger": challenger_policy,
            "champion": champion_policy,
        },
        reward_model=reward_model,
        out=results,
        config=EvaluationConfig.model_validate_json(settings),
        seed=seed,
    )
