"""The corpus that the champion writes: its own problems with its own solutions, chosen by votes and rewards.

No step behind `champion` and `statements` has an input with a gold answer, and the statements have none.
"""

from components.champion import champion as fetch_champion
from components.cot import cot
from components.statements import statements
from components.tir import tir
from components.written_corpus import written_corpus as make_corpus
from components.written_problems import written_problems
from pipelines.placement import place, traced_settings
from pipelines.preflight import add_preflight
from pipelines.tracing import pipeline


@pipeline("written-corpus")
def written_corpus(store: str, problems: str = "", overrides: str = "{}", seed: int = 0) -> None:
    """Has the champion write problems from nothing, solve them, and choose among its solutions.

    Args:
        store: Store with the champion: a folder, file:///… or s3://bucket/prefix.
        problems: The .jsonl or .parquet file that the rounds took their benchmark from, which the corpus must
            not contain; empty for the built-in generator.
        overrides: Settings that override the profile's, as one JSON object: {"writing": {"count": 100}}.
        seed: Seed of every stage; -1 derives one from the run's id.
    """
    _, start = add_preflight(store=store, overrides=overrides, seed=seed, problems_file=problems)
    run_seed = start["seed"]
    champion_task = fetch_champion(store=store, champion=start["champion"], cache_key=start["cache_key"])
    statements_task = statements(
        problems_file=problems,
        settings=start["problems"],
        benchmarks=start["benchmarks"],
        seed=run_seed,
        cache_key=start["cache_key"],
    )
    policy = champion_task.outputs["policy"]
    problems_task = written_problems(
        policy=policy,
        statements=statements_task.outputs["statements"],
        settings=start["writing"],
        decontamination=start["decontamination"],
        seed=run_seed,
    )
    written = problems_task.outputs["problems"]
    cot_task = cot(
        problems=written,
        policy=policy,
        reward_model=champion_task.outputs["reward_model"],
        champion_summary=champion_task.outputs["summary"],
        settings=start["cot"],
        seed=run_seed,
    )
    tir_task = tir(
        problems=written, policy=policy, settings=start["tir"], sft_settings=start["sft"], seed=run_seed
    )
    corpus_task = make_corpus(
        problems=written,
        cot_responses=cot_task.outputs["responses"],
        cot_dropped=cot_task.outputs["dropped"],
        tir_responses=tir_task.outputs["responses"],
        tir_dropped=tir_task.outputs["dropped"],
    )
    place("control", champion_task, statements_task, corpus_task)
    place("sampler", problems_task, cot_task)
    place("trainer" if traced_settings().tir.iterations > 1 else "sampler", tir_task)
