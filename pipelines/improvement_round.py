"""One round: trains a challenger from the current champion and promotes it only if it is better."""

from kfp import dsl

from components.deployment import deployment
from components.evaluation import evaluation
from components.gate import gate
from components.grpo import grpo
from components.publication import publication
from components.report import report
from components.reward_data import reward_data
from components.reward_model import reward_model
from components.selection import selection
from components.sft import sft
from mathloop.settings import Settings
from pipelines.placement import cluster, place, profile, retry
from pipelines.preflight import add_preflight
from pipelines.synthesis import add_synthesis
from pipelines.tracing import pipeline
from pipelines.training import ROUND_ID, add_training


@pipeline("improvement-round")
def improvement_round(
    store: str, problems: str = "", overrides: str = "{}", seed: int = 0, serve: str = "no"
) -> None:
    """Samples the champion's solutions, trains on them, and promotes the result if it is better.

    Args:
        store: Store with the champion: a folder, file:///… or s3://bucket/prefix.
        problems: A .jsonl or .parquet file of training problems; empty for the built-in generator.
        overrides: Settings that override the profile's, as one JSON object: {"grpo": {"steps": 10}}. Node
            pools are compiled in and cannot be overridden here.
        seed: Seed of every stage; the same seed and champion give the same round. -1 derives one from the
            run's id.
        serve: yes deploys a promoted champion to its KServe endpoints; ignored in local runs.
    """
    preflight_task, start = add_preflight(store=store, overrides=overrides, seed=seed, problems_file=problems)
    data = add_synthesis(store=store, problems_file=problems, start=start)
    run_seed, champion = start["seed"], data.champion.outputs
    sft_task = add_training(
        sft,
        store=store,
        problems=data.training_problems,
        cot=data.decontamination_cot.outputs["kept"],
        tir=data.decontamination_tir.outputs["kept"],
        policy=champion["policy"],
        settings=start["sft"],
        seed=run_seed,
    )
    sft_policy = sft_task.outputs["model"]
    reward_data_task = reward_data(
        problems=data.training_problems, policy=sft_policy, settings=start["reward_data"], seed=run_seed
    )
    reward_model_task = add_training(
        reward_model,
        store=store,
        problems=data.training_problems,
        responses=reward_data_task.outputs["responses"],
        policy=sft_policy,
        settings=start["reward_model"],
        seed=run_seed,
    )
    selection_task = selection(
        problems=data.training_problems, policy=sft_policy, settings=start["selection"], seed=run_seed
    )
    grpo_task = add_training(
        grpo,
        store=store,
        problems=selection_task.outputs["selected"],
        policy=sft_policy,
        reward_model=reward_model_task.outputs["model"],
        settings=start["grpo"],
        seed=run_seed,
    )
    evaluation_task = evaluation(
        benchmark=data.benchmark,
        champion=champion["champion"],
        base_policy=champion["base"],
        champion_policy=champion["policy"],
        sft_policy=sft_policy,
        challenger_policy=grpo_task.outputs["model"],
        reward_model=reward_model_task.outputs["model"],
        settings=start["evaluation"],
        seed=run_seed,
    )
    gate_task = gate(
        benchmark=data.benchmark,
        results=evaluation_task.outputs["results"],
        settings=start["gate"],
        seed=run_seed,
    )
    publication_task = publication(
        store=store,
        round_id=ROUND_ID,
        champion=champion["champion"],
        verdict=gate_task.outputs["verdict"],
        policy=grpo_task.outputs["model"],
        reward_model=reward_model_task.outputs["model"],
    ).set_caching_options(False)
    summaries = {
        "preflight": preflight_task,
        "champion": data.champion,
        "problems": data.problems,
        "evolution": data.evolution,
        "decontamination_problems": data.decontamination_problems,
        "cot": data.cot,
        "tir": data.tir,
        "decontamination_cot": data.decontamination_cot,
        "decontamination_tir": data.decontamination_tir,
        "sft": sft_task,
        "reward_data": reward_data_task,
        "reward_model": reward_model_task,
        "selection": selection_task,
        "grpo": grpo_task,
        "evaluation": evaluation_task,
        "gate": gate_task,
        "publication": publication_task,
    }
    report_task = report(
        round_id=ROUND_ID,
        settings=start["settings"],
        benchmark=data.benchmark,
        results=evaluation_task.outputs["results"],
        verdict=gate_task.outputs["verdict"],
        published=publication_task.outputs["published"],
        **{name: task.outputs["summary"] for name, task in summaries.items()},
    )
    place("sampler", reward_data_task, selection_task, evaluation_task)
    place("control", gate_task, publication_task, report_task)
    retry(publication_task)
    if cluster() is not None:  # a local run has no KServe
        with dsl.If(serve == "yes", name="serving"):
            deployment_task = deployment(
                store=store, published=publication_task.outputs["published"], settings=start["deployment"]
            ).set_caching_options(False)
            limits = Settings.model_validate_json(profile() or "{}").deployment
            place("control", deployment_task, seconds=limits.longest_seconds)
