"""KFP component: the first champion."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def publish_base(
    store_url: str,
    round_id: str,
    model: dsl.Input[dsl.Model],
    published: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
) -> None:
    """Publishes a pretrained model and makes it champion 0 of a store that has none.

    Args:
        store_url: Store: a folder, file:///… or s3://bucket/prefix.
        round_id: Name of the model in the store.
        model: The pretrained model.
        published: What became of it, as JSON.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.registry import stages

    report = stages.publish_base(
        store_url=store_url,
        model=Path(model.path),
        round_id=round_id,
        out=Path(published.path),
    )
    record(report, metrics, stage_report)
