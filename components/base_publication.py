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
    corpus_summary: dsl.Input[dsl.Markdown] = None,
    pretrain_summary: dsl.Input[dsl.Markdown] = None,
    configuration: str = "{}",
    tracking: str = "{}",
) -> None:
    """Publishes a pretrained or imported model and makes it champion 0 of a store that has none.

    Args:
        model: The model.
        published: Its number and the reason, as JSON.
        corpus_summary: Summary of the corpus, if it was pretrained.
        pretrain_summary: Summary of pretraining, if it was pretrained.
        configuration: All settings of the run as JSON, for the experiment trackers.
        tracking: Settings of the experiment trackers as JSON.
    """
    from components.running import run
    from mathloop.reports import first_model
    from mathloop.tracking.config import TrackingConfig

    run(
        first_model.run,
        summary,
        describes=[published],
        store_url=store,
        model=model,
        round_id=round_id,
        out=published,
        summaries=[one for one in (corpus_summary, pretrain_summary) if one],
        configuration=configuration,
        tracking=TrackingConfig.model_validate_json(tracking),
    )
