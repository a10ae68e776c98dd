"""Settings of decontamination, free of its machinery."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class DecontaminationConfig(BaseModel):
    """Which likenesses to a benchmark count, and how alike is too alike."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rules: tuple[Literal["ngram_lcs", "exact", "structure", "rephrased"], ...] = Field(
        ("ngram_lcs", "exact", "structure", "rephrased"),
        min_length=1,
        description="Rules to apply; the first that matches is named.",
    )
    ngram: int = Field(13, ge=2, description="ngram_lcs: tokens of the n-gram that both texts must contain.")
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
        description="structure: numbers aside, the LCS must be longer than this share of the longer text.",
    )
    likeness: float = Field(
        0.6,
        gt=0,
        lt=1,
        description="rephrased: minimum probability of being a rewording of the same problem.",
    )
