"""One round: from the current champion to a challenger, measured, and promoted only if it is better."""

from typing import Any

from kfp import dsl

from components.deploy_champion import deploy_champion
from components.evaluate_round import evaluate_round
from components.judge_challenger import judge_challenger
from components.publish_round import publish_round
from components.report_round import report_round
from components.sample_reward_data import sample_reward_data
from components.select_problems import select_problems
from components.train_grpo import train_grpo
from components.train_reward_model import train_reward_model
from components.train_sft import train_sft
from pipelines.placement import cluster, place, retried
from pipelines.synthesis import add_synthesis
from pipelines.training import ROUND_ID, add_training


@dsl.pipeline(name="improvement-round")
def improvement_round(
    store_url: str,
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
    profile: str = "{}",
    sampler_nodes: dict = {},  # noqa: B006  (KFP reads the default, nobody changes it)
    sampler_tolerations: list = [],  # noqa: B006
    trainer_nodes: dict = {},  # noqa: B006
    trainer_tolerations: list = [],  # noqa: B006
    serving: bool = False,
    deployment: str = "{}",
) -> None:
    """Lets the champion write solutions, learns from them, and promotes the result if it is better.

    Args:
        store_url: Store with the champion: a folder, file:///… or s3://bucket/prefix.
        problems_file: A .jsonl or .parquet file of training problems; empty for the built-in generator.
        seed: Seed of every stage; the same seed and champion give the same round. -1 draws one from the
            run's id.
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
        profile: The profile that all these settings came from, as JSON, for the report.
        sampler_nodes: Labels of the nodes that sample, as {label: value}; {} leaves it to Kubernetes.
        sampler_tolerations: Taints that they may have beside their pool's, as [{key, operator, effect}].
        trainer_nodes: Labels of the nodes that train, as {label: value}; {} leaves it to Kubernetes.
        trainer_tolerations: Taints that they may have beside their pool's, as [{key, operator, effect}].
        serving: Whether a promoted champion is put behind its KServe endpoints; ignored on one machine.
        deployment: Settings of serving, as JSON.
    """
    data = add_synthesis(
        store_url=store_url,
        problems_file=problems_file,
        seed=seed,
        problems=problems,
        evolution=evolution,
        decontamination=decontamination,
        cot=cot,
        tir=tir,
        others={
            "sft": sft,
            "reward_data": reward_data,
            "reward_model": reward_model,
            "selection": selection,
            "grpo": grpo,
            "evaluation": evaluation,
            "gate": gate,
            "deployment": deployment,
        },
    )
    champion, benchmark = data.champion.outputs, data.problems.outputs["benchmark"]
    clean, drawn = data.clean_problems.outputs["kept"], data.seed
    training: dict[str, Any] = {
        "store_url": store_url,
        "nodes": trainer_nodes,
        "tolerations": trainer_tolerations,
        "seed": drawn,
    }
    tuned = add_training(
        train_sft,
        problems=clean,
        cot=data.clean_cot.outputs["kept"],
        tir=data.clean_tir.outputs["kept"],
        policy=champion["policy"],
        config=sft,
        **training,
    )
    student = tuned.outputs["model"]
    ranked = sample_reward_data(problems=clean, policy=student, config=reward_data, seed=drawn)
    judge = add_training(
        train_reward_model,
        problems=clean,
        responses=ranked.outputs["responses"],
        policy=student,
        config=reward_model,
        **training,
    )
    chosen = select_problems(problems=clean, policy=student, config=selection, seed=drawn)
    trained = add_training(
        train_grpo,
        problems=chosen.outputs["selected"],
        policy=student,
        reward_model=judge.outputs["model"],
        config=grpo,
        **training,
    )
    measured = evaluate_round(
        benchmark=benchmark,
        champion=champion["champion"],
        base_policy=champion["base"],
        champion_policy=champion["policy"],
        sft_policy=student,
        grpo_policy=trained.outputs["model"],
        reward_model=judge.outputs["model"],
        config=evaluation,
        seed=drawn,
    )
    results = measured.outputs["results"]
    judged = judge_challenger(benchmark=benchmark, results=results, config=gate, seed=drawn)
    published = publish_round(
        store_url=store_url,
        round_id=ROUND_ID,
        champion=champion["champion"],
        gate=judged.outputs["verdict"],
        policy=trained.outputs["model"],
        reward_model=judge.outputs["model"],
    ).set_caching_options(False)
    page = report_round(
        title=f"Round {ROUND_ID}",
        configuration=profile,
        preflight=data.preflight.outputs["stage_report"],
        champion=champion["stage_report"],
        problems=data.problems.outputs["stage_report"],
        evolution=data.evolution.outputs["stage_report"],
        decontaminated_problems=data.clean_problems.outputs["stage_report"],
        cot=data.cot.outputs["stage_report"],
        tir=data.tir.outputs["stage_report"],
        decontaminated_cot=data.clean_cot.outputs["stage_report"],
        decontaminated_tir=data.clean_tir.outputs["stage_report"],
        sft=tuned.outputs["stage_report"],
        reward_data=ranked.outputs["stage_report"],
        reward_model=judge.outputs["stage_report"],
        selection=chosen.outputs["stage_report"],
        grpo=trained.outputs["stage_report"],
        evaluation=measured.outputs["stage_report"],
        judgment=judged.outputs["stage_report"],
        publication=published.outputs["stage_report"],
        benchmark=benchmark,
        results=results,
        verdict=judged.outputs["verdict"],
        published=published.outputs["published"],
    )
    sampling = (*data.sampling, ranked, chosen, measured)
    place("sampler", *sampling, nodes=sampler_nodes, tolerations=sampler_tolerations)
    place("control", *data.light, judged, published, page)
    retried(*data.moving, published)
    pools = cluster()
    if pools is not None:  # one machine has no KServe
        with dsl.If(serving == True, name="serving"):  # noqa: E712  (a comparison that KFP makes)
            deployed = deploy_champion(
                store_url=store_url, published=published.outputs["published"], config=deployment
            ).set_caching_options(False)
            # Three times ready and asked, and the way back.
            each = pools.serving.ready_seconds + 2 * pools.serving.smoke_seconds
            place("control", deployed, seconds=4 * each)
