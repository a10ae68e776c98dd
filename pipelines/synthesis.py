"""The steps that rounds and data-only runs share: from the champion to decontaminated SFT data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp.dsl import PipelineTask

from components.champion import champion
from components.cot import cot
from components.decontamination_problems import decontamination_problems
from components.decontamination_responses import decontamination_responses
from components.evolution import evolution
from components.problems import problems
from components.tir import tir
from pipelines.placement import place, retry


@dataclass(frozen=True)
class Synthesis:
    """The tasks that create SFT data, in order, each named after its stage."""

    champion: PipelineTask
    problems: PipelineTask
    evolution: PipelineTask
    decontamination_problems: PipelineTask
    cot: PipelineTask
    tir: PipelineTask
    decontamination_cot: PipelineTask
    decontamination_tir: PipelineTask

    @property
    def benchmark(self) -> Any:
        """The evaluation problems, which training data must not contain."""
        return self.problems.outputs["benchmark"]

    @property
    def training_problems(self) -> Any:
        """The training problems, decontaminated."""
        return self.decontamination_problems.outputs["kept"]


def add_synthesis(*, store: Any, problems_file: Any, start: Mapping[str, Any]) -> Synthesis:
    """Adds the tasks to the pipeline being defined, and places them.

    Args:
        start: preflight's outputs.
    """
    seed, key = start["seed"], start["cache_key"]
    champion_task = champion(store=store, cache_key=key)
    problems_task = problems(
        problems_file=problems_file, settings=start["problems"], seed=seed, cache_key=key
    )
    benchmark = problems_task.outputs["benchmark"]
    evolution_task = evolution(
        problems=problems_task.outputs["problems"], settings=start["evolution"], seed=seed
    )
    clean = decontamination_problems(
        problems=evolution_task.outputs["evolved"], benchmark=benchmark, settings=start["decontamination"]
    )
    kept = clean.outputs["kept"]
    policy = champion_task.outputs["policy"]
    cot_task = cot(
        problems=kept,
        policy=policy,
        reward_model=champion_task.outputs["reward_model"],
        settings=start["cot"],
        seed=seed,
    )
    tir_task = tir(problems=kept, policy=policy, settings=start["tir"], seed=seed)
    clean_cot, clean_tir = (
        decontamination_responses(
            problems=kept,
            responses=task.outputs["responses"],
            benchmark=benchmark,
            settings=start["decontamination"],
            mode=mode,
        ).set_display_name(f"decontamination-{mode}")
        for mode, task in (("cot", cot_task), ("tir", tir_task))
    )
    place("control", champion_task, problems_task, evolution_task, clean, clean_cot, clean_tir)
    place("sampler", cot_task, tir_task)
    retry(champion_task)
    return Synthesis(
        champion_task, problems_task, evolution_task, clean, cot_task, tir_task, clean_cot, clean_tir
    )
