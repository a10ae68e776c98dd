"""KFP component: multi-node training."""

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def train_job(
    stage: str,
    store: str,
    round_id: str,
    pool: str,
    access: str,
    model: dsl.Output[dsl.Model],
    summary: dsl.Output[dsl.Markdown],
    problems: dsl.Input[dsl.Dataset] = None,
    cot: dsl.Input[dsl.Dataset] = None,
    tir: dsl.Input[dsl.Dataset] = None,
    responses: dsl.Input[dsl.Dataset] = None,
    corpus: dsl.Input[dsl.Dataset] = None,
    policy: dsl.Input[dsl.Model] = None,
    reward_model: dsl.Input[dsl.Model] = None,
    responses_summary: dsl.Input[dsl.Markdown] = None,
    settings: str = "{}",
    seed: int = 0,
) -> None:
    """Trains in a TrainJob: uploads the inputs, follows its log, downloads the model.

    Args:
        stage: pretrain, sft, reward_model or grpo.
        store: Store that inputs and model are transferred through: s3://bucket/prefix.
        round_id: Id of the run; the job is named after it and the stage.
        pool: Settings of the trainer pool, as JSON.
        access: Names of the store's Secret and ConfigMaps, as JSON.
        problems: Problems, if the stage uses them.
        cot: Selected CoT responses, for sft.
        tir: Selected TIR responses, for sft.
        responses: Labeled responses, for reward_model.
        corpus: Documents, for pretrain.
        policy: Model to start from.
        reward_model: Model that scores responses, for grpo.
        responses_summary: Summary of sampling the responses, for reward_model; carried by the step's own.
    """
    from components.running import run, work_folder
    from mathloop.cluster import train_job_launching

    ports = {"problems": problems, "cot": cot, "tir": tir, "responses": responses, "corpus": corpus}
    run(
        train_job_launching.run,
        summary,
        describes=[model],
        earlier=[responses_summary] if responses_summary else [],
        recipe=stage,
        inputs={**ports, "policy": policy, "reward_model": reward_model},
        store_url=store,
        round_id=round_id,
        model=model,
        work=work_folder(),
        pool=pool,
        access=access,
        config=settings,
        seed=seed,
    )
