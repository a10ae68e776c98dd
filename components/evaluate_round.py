"""KFP component: base, champion, SFT and GRPO on the benchmark."""

from kfp import dsl

from components.images import SAMPLER_IMAGE


@dsl.component(base_image=SAMPLER_IMAGE, packages_to_install=[], install_kfp_package=False)
def evaluate_round(
    benchmark: dsl.Input[dsl.Dataset],
    champion: dsl.Input[dsl.Artifact],
    base_policy: dsl.Input[dsl.Model],
    champion_policy: dsl.Input[dsl.Model],
    sft_policy: dsl.Input[dsl.Model],
    grpo_policy: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    results: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Answers the benchmark with every model of the round, greedily and sampled, in CoT and TIR.

    Args:
        benchmark: Problems to answer.
        champion: The champion that the round started from, as JSON.
        base_policy: The pretrained model.
        champion_policy: The champion's policy.
        sft_policy: The policy after SFT.
        grpo_policy: The policy after GRPO: the challenger.
        reward_model: Model that scores responses.
        results: Every answer with its verdict and score.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    import json
    from pathlib import Path

    from components.ports import record
    from mathloop.evaluation import evaluate
    from mathloop.evaluation.config import EvaluationConfig

    who = json.loads(Path(champion.path).read_text(encoding="utf-8"))
    models = {"base": Path(base_policy.path), "sft": Path(sft_policy.path), "grpo": Path(grpo_policy.path)}
    if who["policy"] != who["base"]:  # a first round's champion is the base itself: measured once
        models["champion"] = Path(champion_policy.path)
    report = evaluate.run(
        benchmark=Path(benchmark.path),
        models=models,
        reward_model=Path(reward_model.path),
        out=Path(results.path),
        config=EvaluationConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
