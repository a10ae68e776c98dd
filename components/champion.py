"""KFP component: the current champion's models."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def champion(
    store: str,
    policy: dsl.Output[dsl.Model],
    reward_model: dsl.Output[dsl.Model],
    base: dsl.Output[dsl.Model],
    champion: dsl.Output[dsl.Artifact],
    summary: dsl.Output[dsl.Markdown],
    cache_key: str = "",
) -> None:
    """Fetches the current champion's policy, reward model and base model from the store.

    Args:
        policy: The champion's policy.
        reward_model: Its reward model; empty if it has none.
        base: The pretrained model that its lineage starts from.
        champion: The champion's entry in the registry, as JSON.
    """
    from components.running import run
    from mathloop.registry import stages

    run(
        stages.fetch_champion,
        summary,
        store_url=store,
        policy=policy,
        reward_model=reward_model,
        base=base,
        champion=champion,
    )
