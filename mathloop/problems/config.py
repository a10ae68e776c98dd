"""The sources of a round's problems. Counts are numbers of problems, shares fractions of 1."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field


class ProblemFile(BaseModel):
    """One of several data sets that a round's problems are drawn from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str = Field(
        min_length=1,
        description="File or folder, s3://bucket/key, or hf://datasets/OWNER/NAME@REVISION/PATH",
    )
    weight: float = Field(1.0, gt=0, le=1e6, description="Share of the training problems, relative to others")
    fields: dict[str, str] = Field({}, description="As problems.fields")
    layout: str = Field("", description="As problems.layout")
    split: str = Field("", description="As problems.split")


class ProblemsConfig(BaseModel):
    """Training problems from a file or the built-in generator, and the benchmark."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: int = Field(
        1200, ge=1, description="Training problems; from a file, a sample that depends on the seed"
    )
    benchmark: int = Field(
        300,
        ge=1,
        description="Benchmark problems; from a file, out of the quarter that is held out for all seeds",
    )
    generator: Literal["nano", "one_step"] = Field(
        "nano",
        description="Built-in problems, used without a file: nano, the nano model's world, or one_step, "
        "English problems of one step with numbers below ten, for a small pretrained model",
    )
    chinese_share: float = Field(
        0.3, ge=0, le=1, description="Share of the nano generator's problems in Chinese"
    )
    rejects_share: float = Field(
        0.0, ge=0, le=1, description="Largest share of broken rows in a file; they are dropped"
    )
    fields: dict[str, str] = Field(
        {}, description="Part of a problem → column of the file that holds it: {answer: expected_answer}"
    )
    layout: str = Field("", description="Layout of the file's rows; empty: recognized by its columns")
    split: str = Field("", description="Split to read from a folder that has several")
    files: tuple[ProblemFile, ...] = Field(
        (), description="Several data sets, each with path and weight, in place of --problems"
    )

    def sources(self, problems_file: str) -> list[tuple[ProblemFile, Self]]:
        """The data sets to read, each with the settings for it; none for the built-in generator."""
        if problems_file:
            return [(ProblemFile(path=problems_file), self)]
        own = ("fields", "layout", "split")
        return [
            (file, self.model_copy(update={name: getattr(file, name) for name in own})) for file in self.files
        ]


class EvolutionConfig(BaseModel):
    """Evolved problems have no gold answer; the majority of the sampled answers takes its place."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    count: int = Field(200, ge=0, description="Problems to evolve")
