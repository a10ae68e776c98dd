"""The part that a whole round and a data-only run share: from the champion to decontaminated SFT data."""

from __future__ import annotations

from dataclasses import dataclass

from kfp.dsl import PipelineTask

from components.build_problems import build_problems
from components.decontaminate_problems import decontaminate_problems
from components.decontaminate_responses import decontaminate_responses
from components.evolve_problems import evolve_problems
from components.fetch_champion import fetch_champion
from components.preflight import preflight
from components.sample_cot import sample_cot
from components.sample_tir import sample_tir


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
) -> Synthesis:
    """Adds the tasks to the pipeline that is being defined; the last five arguments are configs as JSON."""
    # The store's state is an input that KFP's cache cannot see.
    checked = preflight(store_url=store_url).set_caching_options(False)
    champion = fetch_champion(store_url=store_url).after(checked).set_caching_options(False)
    # Nor can it see what stands in the file.
    built = build_problems(problems_file=problems_file, config=problems, seed=seed).after(checked)
    built.set_caching_options(False)
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
