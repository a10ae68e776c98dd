"""The part that a whole round and a data-only run share: from the champion to decontaminated SFT data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kfp.dsl import PipelineTask

from components.build_problems import build_problems
from components.decontaminate_problems import decontaminate_problems
from components.decontaminate_responses import decontaminate_responses
from components.evolve_problems import evolve_problems
from components.fetch_champion import fetch_champion
from components.preflight import preflight
from components.sample_cot import sample_cot
from components.sample_tir import sample_tir
from pipelines.placement import looks_back
from pipelines.training import ROUND_ID


@dataclass(frozen=True)
class Synthesis:
    """The tasks that make SFT data, in order."""

    preflight: PipelineTask
    champion: PipelineTask
    problems: PipelineTask
    evolution: PipelineTask
    clean_problems: PipelineTask
    cot: PipelineTask
    tir: PipelineTask
    clean_cot: PipelineTask
    clean_tir: PipelineTask

    @property
    def seed(self) -> Any:
        """Of the run: as it was given, or drawn."""
        return self.preflight.outputs["seed"]

    @property
    def sampling(self) -> tuple[PipelineTask, ...]:
        """Those that need a model."""
        return self.cot, self.tir

    @property
    def light(self) -> tuple[PipelineTask, ...]:
        """Those that need none."""
        decontaminating = self.clean_problems, self.clean_cot, self.clean_tir
        return self.preflight, self.champion, self.problems, self.evolution, *decontaminating

    @property
    def moving(self) -> tuple[PipelineTask, ...]:
        """Those that only wait for the store."""
        return self.preflight, self.champion


def add_synthesis(
    *,
    store_url: str,
    problems_file: str,
    seed: int,
    problems: str,
    evolution: str,
    decontamination: str,
    cot: str,
    tir: str,
    others: Mapping[str, str],
) -> Synthesis:
    """Adds the tasks to the pipeline that is being defined; the five sections are configs as JSON.

    Args:
        others: sections of what comes after, which are to be checked before anything is computed.
    """
    checked = preflight(
        store_url=store_url,
        round_id=ROUND_ID,
        problems_file=problems_file,
        seed=seed,
        problems=problems,
        evolution=evolution,
        decontamination=decontamination,
        cot=cot,
        tir=tir,
        **others,
    ).set_caching_options(False)
    looks_back(checked)
    # The key stands for what KFP's cache cannot see: the store's state, what is in the file, our code. All
    # that comes after depends on these two.
    key, seed = checked.outputs["cache_key"], checked.outputs["seed"]
    champion = fetch_champion(store_url=store_url, cache_key=key)
    built = build_problems(problems_file=problems_file, config=problems, seed=seed, cache_key=key)
    benchmark = built.outputs["benchmark"]
    evolved = evolve_problems(problems=built.outputs["problems"], config=evolution, seed=seed)
    clean = decontaminate_problems(
        problems=evolved.outputs["evolved"], benchmark=benchmark, config=decontamination
    )
    kept = clean.outputs["kept"]
    policy = champion.outputs["policy"]
    worked = sample_cot(
        problems=kept,
        policy=policy,
        reward_model=champion.outputs["reward_model"],
        config=cot,
        seed=seed,
    )
    computed = sample_tir(problems=kept, policy=policy, config=tir, seed=seed)
    clean_cot = decontaminate_responses(
        problems=kept, responses=worked.outputs["responses"], benchmark=benchmark, config=decontamination
    ).set_display_name("decontaminate-cot")
    clean_tir = decontaminate_responses(
        problems=kept, responses=computed.outputs["responses"], benchmark=benchmark, config=decontamination
    ).set_display_name("decontaminate-tir")
    return Synthesis(checked, champion, built, evolved, clean, worked, computed, clean_cot, clean_tir)
