"""KFP component: a recipe on several nodes."""

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def launch_training(
    recipe: str,
    store_url: str,
    round_id: str,
    pool: str,
    access: str,
    model: dsl.Output[dsl.Model],
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    problems: dsl.Input[dsl.Dataset] = None,
    cot: dsl.Input[dsl.Dataset] = None,
    tir: dsl.Input[dsl.Dataset] = None,
    responses: dsl.Input[dsl.Dataset] = None,
    corpus: dsl.Input[dsl.Dataset] = None,
    policy: dsl.Input[dsl.Model] = None,
    reward_model: dsl.Input[dsl.Model] = None,
    nodes: dict = {},  # noqa: B006  (KFP reads the default, nobody changes it)
    tolerations: list = [],  # noqa: B006
    config: str = "{}",
    seed: int = 0,
) -> None:
    """Trains by a TrainJob: hands it the inputs, shows its log, takes the model back.

    Args:
        recipe: pretrain, sft, reward_model or grpo.
        store_url: Store that inputs and model go through: s3://bucket/prefix.
        round_id: Name of the round; with the recipe it names the job.
        pool: The trainer's pool, as JSON.
        access: Names of the Secret and the ConfigMap of the store, as JSON.
        model: The trained model.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        problems: Problems, where the recipe takes them.
        cot: Selected CoT responses, for sft.
        tir: Selected TIR responses, for sft.
        responses: Labelled responses, for reward_model.
        corpus: Documents, for pretrain.
        policy: Model to start from.
        reward_model: Model that judges, for grpo.
        nodes: Labels of the nodes, as {label: value}; {} leaves it to the pool.
        tolerations: Taints that they may have beside the pool's, as [{key, operator, effect}].
        config: Settings of the recipe as JSON, checked by its Config; what is left out has its default.
        seed: Seed; the same seed and inputs give the same outputs.
    """
    from pathlib import Path

    from components.ports import record, work_folder
    from mathloop.cluster import launching

    given = {"problems": problems, "cot": cot, "tir": tir, "responses": responses, "corpus": corpus}
    given.update(policy=policy, reward_model=reward_model)
    report = launching.run(
        recipe=recipe,
        inputs={name: Path(artifact.path) for name, artifact in given.items() if artifact},
        store_url=store_url,
        round_id=round_id,
        model=Path(model.path),
        work=work_folder(),
        pool=pool,
        access=access,
        nodes=nodes,
        tolerations=tolerations,
        config=config,
        seed=seed,
    )
    record(report, metrics, stage_report)
