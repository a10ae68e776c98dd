"""Measures the current champion, without training anything."""

from kfp import dsl

from components.build_problems import build_problems
from components.evaluate_champion import evaluate_champion
from components.fetch_champion import fetch_champion
from components.preflight import preflight
from pipelines.placement import place, retried


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
        seed: Seed of sampling.
        problems: Settings of the benchmark, as JSON.
        evaluation: Settings of the evaluation, as JSON.
        sampler_nodes: Labels of the nodes that sample, as {label: value}; {} leaves it to Kubernetes.
        sampler_tolerations: Taints that they may have beside their pool's, as [{key, operator, effect}].
    """
    checked = preflight(store_url=store_url).set_caching_options(False)
    champion = fetch_champion(store_url=store_url).after(checked).set_caching_options(False)
    built = build_problems(problems_file=problems_file, config=problems, seed=seed).after(checked)
    built.set_caching_options(False)  # the cache cannot see what stands in the file
    measured = evaluate_champion(
        benchmark=built.outputs["benchmark"],
        policy=champion.outputs["policy"],
        reward_model=champion.outputs["reward_model"],
        config=evaluation,
        seed=seed,
    )
    place("sampler", measured, nodes=sampler_nodes, tolerations=sampler_tolerations)
    place("control", checked, champion, built)
    retried(checked, champion)
