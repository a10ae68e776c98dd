"""KFP component: the current champion on a benchmark."""

from kfp import dsl

from components.images import SAMPLER_IMAGE


@dsl.component(base_image=SAMPLER_IMAGE, packages_to_install=[], install_kfp_package=False)
def evaluate_champion(
    benchmark: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    results: dsl.Output[dsl.Dataset],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Answers the benchmark with the champion, greedily and sampled, in CoT and TIR.

    Args:
        benchmark: Problems to answer.
        policy: The champion's policy.
        reward_model: Its reward model.
        results: Every answer with its verdict and score.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.evaluation import evaluate
    from mathloop.evaluation.config import EvaluationConfig

    report = evaluate.run(
        benchmark=Path(benchmark.path),
        models={"champion": Path(policy.path)},
        reward_model=Path(reward_model.path),
        out=Path(results.path),
        config=EvaluationConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
