"""KFP component: checks before anything is computed."""

from typing import NamedTuple

from kfp import dsl

from components.images import CONTROL_IMAGE


@dsl.component(base_image=CONTROL_IMAGE, packages_to_install=[], install_kfp_package=False)
def preflight(
    store_url: str,
    round_id: str,
    metrics: dsl.Output[dsl.Metrics],
    stage_report: dsl.Output[dsl.Artifact],
    problems_file: str = "",
    seed: int = 0,
    problems: str = "{}",
    evolution: str = "{}",
    decontamination: str = "{}",
    cot: str = "{}",
    tir: str = "{}",
    sft: str = "{}",
    reward_data: str = "{}",
    reward_model: str = "{}",
    selection: str = "{}",
    grpo: str = "{}",
    evaluation: str = "{}",
    gate: str = "{}",
    deployment: str = "{}",
) -> NamedTuple("Start", [("cache_key", str), ("seed", int)]):
    """Checks settings, store and champion; draws the seed, and says what KFP may reuse.

    Args:
        store_url: Store: a folder, file:///… or s3://bucket/prefix.
        round_id: Name of the round, which a seed is drawn from.
        metrics: Scalars of the stage.
        stage_report: What the stage took, made and dropped, as JSON.
        problems_file: A .jsonl or .parquet file of problems; empty for the built-in generator.
        seed: Seed of the run; -1 draws one.
        problems: Settings of the training problems and the benchmark, as JSON.
        evolution: Settings of problem evolution, as JSON.
        decontamination: Settings of decontamination, as JSON.
        cot: Settings of CoT sampling and selection, as JSON.
        tir: Settings of TIR sampling and selection, as JSON.
        sft: Settings of supervised fine-tuning, as JSON.
        reward_data: Settings of sampling for the reward model, as JSON.
        reward_model: Settings of reward-model training, as JSON.
        selection: Settings of choosing GRPO's problems, as JSON.
        grpo: Settings of GRPO, as JSON.
        evaluation: Settings of the evaluation, as JSON.
        gate: Settings of the promotion gate, as JSON.
        deployment: Settings of serving, as JSON.
    """
    from components.ports import record
    from mathloop.cluster import preflight as stage

    settings = {"problems": problems, "evolution": evolution, "decontamination": decontamination}
    settings.update(cot=cot, tir=tir, sft=sft, reward_data=reward_data, reward_model=reward_model)
    settings.update(selection=selection, grpo=grpo, evaluation=evaluation, gate=gate, deployment=deployment)
    report, start = stage.run(
        store_url=store_url,
        round_id=round_id,
        problems_file=problems_file,
        seed=seed,
        settings=settings,
        uri=stage_report.uri,
    )
    record(report, metrics, stage_report)
    return start
