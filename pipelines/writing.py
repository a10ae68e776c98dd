"""Writing only: problems that the current champion, or another model, writes from others."""

from components.writing import writing as write_problems
from pipelines.preflight import add_preflight
from pipelines.synthesis import add_champion_and_problems
from pipelines.tracing import pipeline
from pipelines.training import add_sampling


@pipeline("writing")
def writing(store: str, problems: str = "", overrides: str = "{}", seed: int = 0) -> None:
    """Has a model write problems from others by the templates of the settings, and decontaminates them.

    Args:
        store: Store with the champion: a folder, file:///… or s3://bucket/prefix.
        problems: A .jsonl or .parquet file or s3:// URL of problems; empty for the built-in generator.
        overrides: Settings that override the profile's, as one JSON object: {"writing": {"count": 100}}.
        seed: Seed of every stage; the same seed and champion give the same problems. -1 derives one from the
            run's id.
    """
    _, start = add_preflight(store=store, overrides=overrides, seed=seed, problems_file=problems)
    champion_task, problems_task = add_champion_and_problems(
        store=store,
        problems_file=problems,
        settings=start["problems"],
        **{name: start[name] for name in ("champion", "cache_key", "seed")},
        **{name: start[name] for name in ("benchmarks", "evolution", "decontamination")},
    )
    add_sampling(
        write_problems,
        store=store,
        policy=champion_task.outputs["policy"],
        problems_summary=problems_task.outputs["summary"],
        settings=start["writing"],
        **{name: problems_task.outputs[name] for name in ("problems", "benchmark")},
        **{name: start[name] for name in ("benchmarks", "decontamination", "seed")},
    )
