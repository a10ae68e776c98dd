"""One round: trains a challenger from the current champion and promotes it only if it is better."""

from components.deployment import deployment
from components.judgment import judgment
from pipelines.learning import learning
from pipelines.placement import cluster, place, traced_settings
from pipelines.preflight import add_preflight
from pipelines.synthesis import STAGES as DATA
from pipelines.synthesis import synthesis
from pipelines.tracing import pipeline
from pipelines.training import ROUND_ID

LEARNING = ("sft", "reward_data", "reward_model", "selection", "grpo", "benchmarks", "evaluation")
"""Stages of the nested pipeline; it takes their settings."""


@pipeline("improvement-round", nests=[synthesis, learning])
def improvement_round(
    store: str, problems: str = "", overrides: str = "{}", seed: int = 0, serve: str = "no"
) -> None:
    """Samples the champion's solutions, trains on them, and promotes the result if it is better.

    Args:
        store: Store with the champion: a folder, file:///… or s3://bucket/prefix.
        problems: A .jsonl or .parquet file or s3:// URL of training problems; empty for the built-in
            generator.
        overrides: Settings that override the profile's, as one JSON object: {"grpo": {"steps": 10}}. Node
            pools are compiled in and cannot be overridden here.
        seed: Seed of every stage; the same seed and champion give the same round. -1 derives one from the
            run's id.
        serve: yes deploys a promoted champion to its KServe endpoints; ignored in local runs.
    """
    preflight_task, start = add_preflight(store=store, overrides=overrides, seed=seed, problems_file=problems)
    common = {name: start[name] for name in ("champion", "seed")}
    data_task = synthesis(
        store=store,
        problems_file=problems,
        cache_key=start["cache_key"],
        **common,
        **{f"{stage}_settings": start[stage] for stage in DATA},
    )
    data = data_task.outputs
    learning_task = learning(
        store=store,
        **{name: data[name] for name in ("problems", "benchmark", "cot", "tir")},
        champion_policy=data["policy"],
        **common,
        **{f"{stage}_settings": start[stage] for stage in LEARNING},
    )
    learned = learning_task.outputs
    judgment_task = judgment(
        store=store,
        round_id=ROUND_ID,
        challenger=learned["challenger"],
        reward_model=learned["reward_model"],
        benchmark=data["benchmark"],
        results=learned["results"],
        settings=start["gate"],
        configuration=start["settings"],
        tracking=start["tracking"],
        preflight_summary=preflight_task.outputs["summary"],
        data_summary=data["summary"],
        learning_summary=learned["summary"],
        **common,
    ).set_caching_options(False)
    place("control", judgment_task)
    if cluster() is not None:  # a local run has no KServe
        deployment_task = deployment(
            store=store,
            serve=serve,
            published=judgment_task.outputs["published"],
            settings=start["deployment"],
        ).set_caching_options(False)
        limits = traced_settings().deployment
        place("control", deployment_task, seconds=limits.longest_seconds)
