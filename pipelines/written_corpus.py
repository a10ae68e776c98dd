"""The corpus that the champion writes: its own problems with its own solutions, chosen by votes and rewards.

No step behind `champion` and `statements` has an input with a gold answer, and the statements have none.
"""

from typing import NamedTuple

from kfp import dsl

from components.champion import champion as fetch_champion
from components.cot import cot
from components.statements import statements
from components.tir import tir
from components.written_corpus import written_corpus as make_corpus
from components.written_problems import written_problems
from pipelines.placement import place
from pipelines.preflight import add_preflight
from pipelines.tracing import nested, pipeline
from pipelines.training import add_sampling, tir_pool


class Corpora(NamedTuple):
    filtered: dsl.Dataset
    unfiltered: dsl.Dataset
    summary: dsl.Markdown


@nested("solutions")
def solutions(
    store: str,
    problems: dsl.Input[dsl.Dataset],
    policy: dsl.Input[dsl.Model],
    reward_model: dsl.Input[dsl.Model],
    champion_summary: dsl.Input[dsl.Markdown],
    cot_settings: str,
    tir_settings: str,
    sft_settings: str,
    seed: int,
) -> Corpora:
    """The champion's CoT and TIR responses to its own problems, and the corpora that they make.

    Args:
        store: Store that responses of several pods are transferred through.
        problems: The written problems; none has an answer.
        policy: The champion's policy.
        reward_model: Its reward model; may be empty.
        champion_summary: Summary of fetching the champion.
        cot_settings: Settings of CoT responses as JSON.
        tir_settings: Settings of TIR responses as JSON.
        sft_settings: Settings of the fine-tuning between TIR iterations as JSON.
        seed: Seed of every stage.
    """
    cot_task = add_sampling(
        cot,
        store=store,
        problems=problems,
        policy=policy,
        reward_model=reward_model,
        champion_summary=champion_summary,
        settings=cot_settings,
        seed=seed,
    )
    tir_task = add_sampling(
        tir,
        store=store,
        pool=tir_pool(),
        problems=problems,
        policy=policy,
        settings=tir_settings,
        sft_settings=sft_settings,
        seed=seed,
    )
    corpus_task = make_corpus(
        problems=problems,
        cot_responses=cot_task.outputs["responses"],
        cot_dropped=cot_task.outputs["dropped"],
        tir_responses=tir_task.outputs["responses"],
        tir_dropped=tir_task.outputs["dropped"],
    )
    place("control", corpus_task)
    return Corpora(*(corpus_task.outputs[name] for name in Corpora._fields))


@pipeline("written-corpus", nests=[solutions])
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
    problems_task = add_sampling(
        written_problems,
        store=store,
        policy=policy,
        statements=statements_task.outputs["statements"],
        settings=start["writing"],
        decontamination=start["decontamination"],
        seed=run_seed,
    )
    solutions(
        store=store,
        problems=problems_task.outputs["problems"],
        policy=policy,
        reward_model=champion_task.outputs["reward_model"],
        champion_summary=champion_task.outputs["summary"],
        cot_settings=start["cot"],
        tir_settings=start["tir"],
        sft_settings=start["sft"],
        seed=run_seed,
    )
    place("control", champion_task, statements_task)
