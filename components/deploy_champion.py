"""KFP component: the promoted champion behind its endpoints."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def deploy_champion(
    store_url: str,
    published: dsl.Input[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    config: str = "{}",
) -> None:
    """Puts the champion behind its KServe endpoints if the round promoted it, or leaves them as they are.

    Args:
        store_url: Store of the champions: s3://bucket/prefix.
        published: What became of the challenger, as JSON.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        config: Settings of serving as JSON, checked by its Config; what is left out has its default.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.cluster import deployment
    from mathloop.cluster.config import ServingConfig

    report = deployment.run(
        store_url=store_url,
        published=Path(published.path),
        config=ServingConfig.model_validate_json(config),
    )
    record(report, metrics, stage_report)
