"""Synthesis only: SFT data from the current champion, without training."""

from pipelines.preflight import add_preflight
from pipelines.synthesis import STAGES, synthesis
from pipelines.tracing import pipeline


@pipeline("data", nests=[synthesis])
def data(store: str, problems: str = "", overrides: str = "{}", seed: int = 0) -> None:
    """Samples the champion's solutions, selects those to train on, and decontaminates them.

    Args:
        store: Store with the champion: a folder, file:///… or s3://bucket/prefix.
        problems: A .jsonl or .parquet file or s3:// URL of training problems; empty for the built-in
            generator.
        overrides: Settings that override the profile's, as one JSON object: {"cot": {"samples": 8}}.
        seed: Seed of every stage; the same seed and champion give the same data. -1 derives one from the
            run's id.
    """
    _, start = add_preflight(store=store, overrides=overrides, seed=seed, problems_file=problems)
    synthesis(
        store=store,
        problems_file=problems,
        **{name: start[name] for name in ("champion", "cache_key", "seed")},
        **{f"{stage}_settings": start[stage] for stage in STAGES},
    )
