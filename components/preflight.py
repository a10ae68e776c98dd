"""KFP component: settings, checks and seed of a run."""

from typing import NamedTuple

from kfp import dsl

from components.component import component
from components.images import CONTROL_IMAGE


@component(CONTROL_IMAGE)
def preflight(
    store: str,
    round_id: str,
    summary: dsl.Output[dsl.Markdown],
    profile: str = "",
    overrides: str = "{}",
    problems_file: str = "",
    seed: int = 0,
    first: bool = False,
) -> NamedTuple(  # type: ignore[valid-type]
    "Start",
    [
        ("cache_key", str),
        ("seed", int),
        ("champion", str),
        ("settings", str),
        ("corpus", str),
        ("pretrain", str),
        ("problems", str),
        ("benchmarks", str),
        ("evolution", str),
        ("writing", str),
        ("decontamination", str),
        ("cot", str),
        ("tir", str),
        ("sft", str),
        ("reward_data", str),
        ("reward_model", str),
        ("selection", str),
        ("grpo", str),
        ("evaluation", str),
        ("gate", str),
        ("tracking", str),
        ("deployment", str),
    ],
):
    """Validates the run's settings and outputs one section per stage; checks store and champion; draws the
    seed; computes the cache key.

    Args:
        profile: All settings of the profile that the pipeline was compiled with, as JSON.
        overrides: Sections and fields that this run overrides, as one JSON object.
        problems_file: A .jsonl or .parquet file of problems; empty for the built-in generator.
        seed: Seed of the run; -1 derives one from the run's id.
        first: Whether the run creates the first champion of its store.
    """
    from components.running import run
    from mathloop.cluster import preflight as stage

    return run(
        stage.run,
        summary,
        store_url=store,
        round_id=round_id,
        profile=profile,
        overrides=overrides,
        problems_file=problems_file,
        seed=seed,
        first=first,
        uri=summary.uri,
    )
