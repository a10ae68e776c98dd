"""The nested pipeline of rounds and data-only runs: from the champion to decontaminated SFT data."""

from typing import Any, NamedTuple

from kfp import dsl
from kfp.dsl import PipelineTask

from components.champion import champion as fetch_champion
from components.cot import cot
from components.decontamination import decontamination
from components.problems import problems
from components.tir import tir
from components.writing import writing
from pipelines.placement import place, traced_settings
from pipelines.tracing import nested
from pipelines.training import add_sampling, tir_pool


class Data(NamedTuple):
    problems: dsl.Dataset
    benchmark: dsl.Dataset
    cot: dsl.Dataset
    tir: dsl.Dataset
    policy: dsl.Model
    summary: dsl.Markdown


STAGES = ("problems", "benchmarks", "evolution", "writing", "decontamination", "cot", "tir", "sft")
"""Stages of the nested pipeline; it takes their settings."""


@nested("synthesis")
def synthesis(
    store: str,
    champion: str,
    cache_key: str,
    seed: int,
    problems_file: str,
    problems_settings: str,
    benchmarks_settings: str,
    evolution_settings: str,
    writing_settings: str,
    decontamination_settings: str,
    cot_settings: str,
    tir_settings: str,
    sft_settings: str,
) -> Data:
    """Problems and benchmark, the champion's CoT and TIR responses, and their decontamination.

    Args:
        store: Store with the champion.
        champion: The champion, as JSON.
        cache_key: Changes with everything that KFP's cache cannot see.
        seed: Seed of every stage.
        problems_file: A .jsonl or .parquet file of problems; empty for the built-in generator.
        problems_settings: Settings of the problems as JSON.
        benchmarks_settings: Settings of the named benchmarks as JSON.
        evolution_settings: Settings of evolution as JSON.
        writing_settings: Settings of the problems that a model writes as JSON.
        decontamination_settings: Settings of decontamination as JSON.
        cot_settings: Settings of CoT responses as JSON.
        tir_settings: Settings of TIR responses as JSON.
        sft_settings: Settings of the fine-tuning between TIR iterations as JSON.
    """
    champion_task, problems_task = add_champion_and_problems(
        store=store,
        champion=champion,
        cache_key=cache_key,
        seed=seed,
        problems_file=problems_file,
        settings=problems_settings,
        benchmarks=benchmarks_settings,
        evolution=evolution_settings,
        decontamination=decontamination_settings,
    )
    kept, policy = problems_task.outputs["problems"], champion_task.outputs["policy"]
    benchmark, summary = (problems_task.outputs[name] for name in ("benchmark", "summary"))
    if traced_settings().writing.templates:  # else the step costs time for nothing
        writing_task = add_sampling(
            writing,
            store=store,
            problems=kept,
            policy=policy,
            benchmark=benchmark,
            problems_summary=summary,
            settings=writing_settings,
            benchmarks=benchmarks_settings,
            decontamination=decontamination_settings,
            seed=seed,
        )
        kept, summary = (writing_task.outputs[name] for name in ("extended", "summary"))
    cot_task = add_sampling(
        cot,
        store=store,
        problems=kept,
        policy=policy,
        reward_model=champion_task.outputs["reward_model"],
        champion_summary=champion_task.outputs["summary"],
        settings=cot_settings,
        seed=seed,
    )
    tir_task = add_sampling(
        tir,
        store=store,
        pool=tir_pool(),
        problems=kept,
        policy=policy,
        settings=tir_settings,
        sft_settings=sft_settings,
        seed=seed,
    )
    clean = decontamination(
        problems=kept,
        cot_responses=cot_task.outputs["responses"],
        tir_responses=tir_task.outputs["responses"],
        benchmark=benchmark,
        problems_summary=summary,
        cot_summary=cot_task.outputs["summary"],
        tir_summary=tir_task.outputs["summary"],
        settings=decontamination_settings,
        benchmarks=benchmarks_settings,
    )
    place("control", clean)
    return Data(
        problems=kept,
        benchmark=benchmark,
        cot=clean.outputs["cot"],
        tir=clean.outputs["tir"],
        policy=policy,
        summary=clean.outputs["summary"],
    )


def add_champion_and_problems(
    *, store: Any, champion: Any, cache_key: Any, seed: Any, problems_file: Any, **settings: Any
) -> tuple[PipelineTask, PipelineTask]:
    """Adds the steps that fetch the champion and build problems and benchmark, and places them.

    Args:
        settings: settings of the problems (`settings`), of `benchmarks`, `evolution` and `decontamination`.
    """
    champion_task = fetch_champion(store=store, champion=champion, cache_key=cache_key)
    problems_task = problems(problems_file=problems_file, seed=seed, cache_key=cache_key, **settings)
    place("control", champion_task, problems_task)
    return champion_task, problems_task
