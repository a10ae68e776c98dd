"""KFP component: the first champion."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def base_publication(
    store: str,
    round_id: str,
    model: dsl.Input[dsl.Model],
    published: dsl.Output[dsl.Artifact],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Publishes a pretrained or imported model and makes it champion 0 of a store that has none.

    Args:
        model: The model.
        published: Its number and the reason, as JSON.
    """
    from components.running import run
    from mathloop.registry import stages

    run(
        stages.publish_base,
        summary,
        describes=[published],
        store_url=store,
        model=model,
        round_id=round_id,
        out=published,
    )
