"""KFP component: publication and promotion of the round's models."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def publication(
    store: str,
    round_id: str,
    champion: dsl.Input[dsl.Artifact],
    verdict: dsl.Input[dsl.Artifact],
    policy: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    published: dsl.Output[dsl.Artifact],
    summary: dsl.Output[dsl.Markdown],
) -> None:
    """Publishes the round's models and promotes them, if the gate passed and no other run promoted first.

    Args:
        champion: The champion that the round started from, as JSON.
        verdict: The gate's decision, as JSON.
        policy: The challenger.
        reward_model: Its reward model.
        published: Whether it was promoted, its number and the reason, as JSON.
    """
    from components.running import run
    from mathloop.registry import stages

    run(
        stages.publish_round,
        summary,
        store_url=store,
        champion=champion,
        gate=verdict,
        policy=policy,
        reward_model=reward_model,
        round_id=round_id,
        out=published,
    )
