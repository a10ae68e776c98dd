"""KFP component: a model from random weights."""

from kfp import dsl

from components.images import TRAINER_IMAGE


@dsl.component(base_image=TRAINER_IMAGE, packages_to_install=[], install_kfp_package=False)
def pretrain(
    corpus: dsl.Input[dsl.Dataset],
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Trains a language model from random weights on the corpus.

    Args:
        corpus: Documents to learn from.
        model: The pretrained model, tokenizer included.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of the stage as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    from pathlib import Path

    from components.ports import record, work_folder
    from mathloop.training.config import PretrainConfig
    from mathloop.training.launching import train

    report = train(
        "pretrain",
        corpus=Path(corpus.path),
        model=Path(model.path),
        work=work_folder(),
        config=PretrainConfig.model_validate_json(config),
        seed=seed,
    )
    record(report, metrics, stage_report)
