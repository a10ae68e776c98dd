"""KFP component: checks before anything is computed."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def preflight(
    store_url: str,
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
) -> None:
    """Checks that the store takes writes and that the champion's models are there.

    Args:
        store_url: Store: a folder, file:///… or s3://bucket/prefix.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
    """
    from components.ports import record
    from mathloop.registry import stages

    report = stages.preflight(store_url=store_url)
    record(report, metrics, stage_report)
