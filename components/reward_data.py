"""KFP component: training data for the reward model."""

from kfp import dsl

from components.component import component
from components.images import SAMPLER_IMAGE


@component(SAMPLER_IMAGE)
def reward_data(
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    champion_policy: dsl.Input[dsl.Model],
    responses: dsl.Output[dsl.Dataset],
    dropped: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    pods: str = "",
    store: str = "",
    round_id: str = "",
    seed: int = 0,
) -> None:
    """Samples responses per problem and labels them correct or incorrect.

    Args:
        champion_policy: An earlier policy, which may add responses.
    """
    from components.running import run
    from mathloop.synthesis import reward_data as stage
    from mathloop.synthesis.config import RewardDataConfig

    config = RewardDataConfig.model_validate_json(settings)
    run(
        stage.run,
        summary,
        pods=[pods, store, round_id],
        problems=problems,
        policy=policy,
        champion=champion_policy if config.champion_samples else None,
        out=responses,
        dropped=dropped,
        config=config,
        seed=seed,
    )
