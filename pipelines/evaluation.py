"""Measures the current champion, without training anything."""

from kfp import dsl

from components.build_problems import build_problems
from components.evaluate_champion import evaluate_champion
from components.fetch_champion import fetch_champion
from components.preflight import preflight
from pipelines.placement import looks_back, place, retried
from pipelines.training import ROUND_ID


@dsl.pipeline(name="evaluation")
def evaluation(
    store_url: str,
    problems_file: str = "",
    seed: int = 0,
    problems: str = "{}",
    evaluation: str = "{}",
    sampler_nodes: dict = {},  # noqa: B006  (KFP reads the default, nobody changes it)
    sampler_tolerations: list = [],  # noqa: B006
) -> None:
    """Answers the benchmark with the current champion, greedily and sampled, in CoT and TIR.

    Args:
        store_url: Store with the champion: a folder, file:///… or s3://bucket/prefix.
        problems_file: The .jsonl or .parquet file that the rounds held their benchmark out of; empty for the
            built-in generator.
        seed: Seed of sampling; -1 draws one from the run's id.
        problems: Settings of the benchmark, as JSON.
        evaluation: Settings of the evaluation, as JSON.
        sampler_nodes: Labels of the nodes that sample, as {label: value}; {} leaves it to Kubernetes.
        sampler_tolerations: Taints that they may have beside their pool's, as [{key, operator, effect}].
    """
    checked = preflight(
        store_url=store_url,
        round_id=ROUND_ID,
        problems_file=problems_file,
        seed=seed,
        problems=problems,
        evaluation=evaluation,
    ).set_caching_options(False)
    key, drawn = checked.outputs["cache_key"], checked.outputs["seed"]
    champion = fetch_champion(store_url=store_url, cache_key=key)
    built = build_problems(problems_file=problems_file, config=problems, seed=drawn, cache_key=key)
    measured = evaluate_champion(
        benchmark=built.outputs["benchmark"],
        policy=champion.outputs["policy"],
        reward_model=champion.outputs["reward_model"],
        config=evaluation,
        seed=drawn,
    )
    place("sampler", measured, nodes=sampler_nodes, tolerations=sampler_tolerations)
    place("control", checked, champion, built)
    looks_back(checked)
    retried(checked, champion)
