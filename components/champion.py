"""KFP component: the current champion's models."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def champion(
    store: str,
    champion: str,
    policy: dsl.Output[dsl.Model],
    reward_model: dsl.Output[dsl.Model],
    summary: dsl.Output[dsl.Markdown],
    cache_key: str = "",
) -> None:
    """Fetches the champion's policy and reward model from the store.

    Args:
        policy: The champion's policy.
        reward_model: Its reward model; empty if it has none.
    """
    from components.running import run
    from mathloop.registry import stages

    run(
        stages.fetch_champion,
        summary,
        describes=[policy, reward_model],
        store_url=store,
        champion=champion,
        policy=policy,
        reward_model=reward_model,
    )
