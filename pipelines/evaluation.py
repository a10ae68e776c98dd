"""Evaluates the current champion, without training."""

from components.champion_evaluation import champion_evaluation
from pipelines.preflight import add_preflight
from pipelines.synthesis import add_champion_and_problems
from pipelines.tracing import pipeline
from pipelines.training import add_sampling


@pipeline("evaluation")
def evaluation(store: str, problems: str = "", overrides: str = "{}", seed: int = 0) -> None:
    """Evaluates the current champion on the benchmark, greedily and sampled, in CoT and TIR.

    Args:
        store: Store with the champion: a folder, file:///… or s3://bucket/prefix.
        problems: The .jsonl or .parquet file that the rounds took their benchmark from; empty for the
            built-in generator.
        overrides: Settings that override the profile's, as one JSON object: {"evaluation": {"samples": 8}}.
        seed: Seed of sampling; -1 derives one from the run's id.
    """
    _, start = add_preflight(store=store, overrides=overrides, seed=seed, problems_file=problems)
    champion_task, problems_task = add_champion_and_problems(
        store=store,
        champion=start["champion"],
        cache_key=start["cache_key"],
        seed=start["seed"],
        problems_file=problems,
        settings=start["problems"],
        benchmarks=start["benchmarks"],
        evolution=start["evolution"],
        decontamination=start["decontamination"],
    )
    evaluation_task = add_sampling(
        champion_evaluation,
        store=store,
        benchmark=problems_task.outputs["benchmark"],
        policy=champion_task.outputs["policy"],
        reward_model=champion_task.outputs["reward_model"],
        settings=start["evaluation"],
        benchmarks=start["benchmarks"],
        seed=start["seed"],
    )
    evaluation_task.set_display_name("evaluation")
