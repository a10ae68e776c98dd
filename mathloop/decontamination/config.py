"""Settings of decontamination; imports nothing heavy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DecontaminationConfig(BaseModel):
    """Which rules apply, and their thresholds."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Literal["ngram_lcs", "exact", "structure", "rephrased"], ...] = Field(
        ("ngram_lcs", "exact", "structure", "rephrased"),
        min_length=1,
        description="Rules to apply, in order; a removed row names the first that matches.",
    )
    ngram: int = Field(
        13, ge=2, description="ngram_lcs: n-gram length; both texts must share an n-gram of this many tokens."
    )
    lcs_ratio: float = Field(
        0.6,
        gt=0,
        lt=1,
        description="ngram_lcs: the LCS must be longer than this share of the shorter text's tokens.",
    )
    structure_ratio: float = Field(
        0.65,
        gt=0,
        lt=1,
        description="structure: ignoring numbers, the LCS must be longer than this share of the longer text.",
    )
    likeness: float = Field(
        0.6,
        gt=0,
        lt=1,
        description="rephrased: minimum probability that the statement rephrases the item.",
    )
