"""KFP component: the current champion's models."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def fetch_champion(
    store_url: str,
    policy: dsl.Output[dsl.Model],
    reward_model: dsl.Output[dsl.Model],
    base: dsl.Output[dsl.Model],
    champion: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    cache_key: str = "",
) -> None:
    """Fetches the current champion's policy, reward model and base model from the store.

    Args:
        store_url: Store: a folder, file:///… or s3://bucket/prefix.
        policy: The champion's policy.
        reward_model: Its reward model; empty where it has none.
        base: The pretrained model that its line started from.
        champion: Who the champion is, as JSON.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        cache_key: What KFP's cache has to tell apart and cannot see; preflight makes it.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.registry import stages

    report = stages.fetch_champion(
        store_url=store_url,
        policy=Path(policy.path),
        reward_model=Path(reward_model.path),
        base=Path(base.path),
        champion=Path(champion.path),
    )
    record(report, metrics, stage_report)
