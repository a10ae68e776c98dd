"""KFP component: the round's models, and the champion's pointer."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def publish_round(
    store_url: str,
    round_id: str,
    champion: dsl.Input[dsl.Artifact],
    gate: dsl.Input[dsl.Artifact],
    policy: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    published: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
) -> None:
    """Publishes the round's models and makes them champion, if the gate said so and nobody was faster.

    Args:
        store_url: Store: a folder, file:///… or s3://bucket/prefix.
        round_id: Name of the round in the store.
        champion: The champion that the round started from, as JSON.
        gate: The gate's verdict, as JSON.
        policy: The challenger.
        reward_model: The challenger's reward model.
        published: What became of it, as JSON.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
    """
    from pathlib import Path

    from components.ports import record
    from mathloop.registry import stages

    report = stages.publish_round(
        store_url=store_url,
        champion=Path(champion.path),
        gate=Path(gate.path),
        policy=Path(policy.path),
        reward_model=Path(reward_model.path),
        round_id=round_id,
        out=Path(published.path),
    )
    record(report, metrics, stage_report)
