"""Which column of a file of responses holds what."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class Fields(BaseModel):
    """The columns of a file of responses; empty where there is none."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    response: str = Field("", description="Text of the response, or a list with all samples of a problem")
    answer: str = Field("", description="Gold answer")
    reward: str = Field("", description="Reward model's score (a logit), or a list of them")
    label: str = Field("", description="Stored verdict: true, false, 1, 0 or null, or a list of them")
    prediction: str = Field("", description="Final answer, where it is not to be extracted from the text")
    problem: str = Field("", description="The problem's statement")
    id: str = Field("", description="The problem's id; default: its statement, else the row's number")
    sample: str = Field("", description="Number of the sample from 0; -1 is the greedy response")
    model: str = Field("", description="Label of the model; default: the file's or folder's name")
    mode: str = Field("", description="cot or tir; default: cot")
    benchmark: str = Field("", description="Name of the benchmark")
    language: str = Field("", description="en or zh; default: by its characters")
    level: str = Field("", description="Difficulty, a number or a text that ends in one")
    family: str = Field("", description="Subject")
    parent: str = Field("", description="What the problem is a variant of, for clusters")


SAVED = Fields(
    response="text",
    answer="gold",
    reward="reward",
    label="correct",
    problem="problem",
    id="problem_id",
    **{name: name for name in ("sample", "model", "mode", "benchmark", "language", "level", "family")},
    parent="parent",
)
"""The columns that `mathloop evaluate` writes."""
