"""KFP component: the reward model."""

from kfp import dsl

from components.component import component
from components.images import TRAINER_IMAGE


@component(TRAINER_IMAGE)
def reward_model(
    problems: dsl.Input[dsl.Dataset],
    responses: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    responses_summary: dsl.Input[dsl.Markdown],
    reward_model: dsl.Output[dsl.Model],
    summary: dsl.Output[dsl.Markdown],
    settings: str = "{}",
    seed: int = 0,
) -> None:
    """Trains the reward model to rank correct responses above incorrect ones, per problem.

    Args:
        responses: Responses labeled correct or incorrect.
        policy: Model to start from.
        responses_summary: Summary of sampling the responses; this step's own summary carries it.
        reward_model: The trained reward model.
    """
    from functools import partial

    from components.running import run, work_folder
    from mathloop.training.config import RewardModelConfig
    from mathloop.training.processes import train

    run(
        partial(train, "reward_model"),
        summary,
        earlier=[responses_summary],
        describes=[reward_model],
        problems=problems,
        responses=responses,
        policy=policy,
        model=reward_model,
        work=work_folder(),
        config=RewardModelConfig.model_validate_json(settings),
        seed=seed,
    )
