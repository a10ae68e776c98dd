"""KFP component: sampling on several pods."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def sampling_job(
    stage: str,
    store: str,
    round_id: str,
    pool: str,
    access: str,
    image: str,
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    responses: dsl.Output[dsl.Dataset],
    dropped: dsl.Output[dsl.Dataset],
    summary: dsl.Output[dsl.Markdown],
    reward_model: dsl.Input[dsl.Model] = None,
    champion_policy: dsl.Input[dsl.Model] = None,
    champion_summary: dsl.Input[dsl.Markdown] = None,
    settings: str = "{}",
    seed: int = 0,
) -> None:
    """Samples in an Indexed Job: uploads the inputs, follows its log, joins the responses of its pods.

    Args:
        stage: cot, tir or reward_data.
        store: Store that inputs and responses are transferred through: s3://bucket/prefix.
        round_id: Id of the run; the job is named after it and the stage.
        pool: Settings of the sampler pool, as JSON.
        access: Names of the store's Secret and ConfigMaps, as JSON.
        image: Image of the job's pods.
        reward_model: Model that scores responses, for cot; may be empty.
        champion_policy: An earlier policy, which may add responses, for reward_data.
        champion_summary: Summary of fetching the champion, for cot; carried by the step's own.
    """
    from components.running import run
    from mathloop.cluster import sampling_launching

    run(
        sampling_launching.run,
        summary,
        earlier=[champion_summary] if champion_summary else [],
        stage_name=stage,
        inputs={
            "problems": problems,
            "policy": policy,
            "reward_model": reward_model,
            "champion": champion_policy,
        },
        out=responses,
        dropped=dropped,
        store_url=store,
        round_id=round_id,
        pool=pool,
        access=access,
        image=image,
        config=settings,
        seed=seed,
    )
