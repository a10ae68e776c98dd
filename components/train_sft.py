"""KFP component: supervised fine-tuning."""

from kfp import dsl

from components.images import TRAINER_IMAGE


@dsl.component(base_image=TRAINER_IMAGE, packages_to_install=[], install_kfp_package=False)
def train_sft(
    problems: dsl.Input[dsl.Dataset],
    cot: dsl.Input[dsl.Dataset],
    tir: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Fine-tunes the policy on selected CoT and TIR responses, jointly.

    Args:
        problems: Problems that the responses answer.
        cot: Selected CoT responses.
        tir: Selected TIR responses.
        policy: Model to start from.
        model: The fine-tuned policy.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    from pathlib import Path

    from components.ports import record, work_folder
    from mathloop.training.config import SFTConfig
    from mathloop.training.launching import train

    report = train(
        "sft",
        problems=Path(problems.path),
        responses=[Path(cot.path), Path(tir.path)],
        policy=Path(policy.path),
        model=Path(model.path),
        work=work_folder(),
        config=SFTConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
