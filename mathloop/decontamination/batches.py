"""A batch of texts to check, and the results of a rule on it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.features import Features, extract
from mathloop.decontamination.hashing import Ints
from mathloop.decontamination.tokenization import Tokens, tokenize

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""An index's arrays by name; they may be memory maps."""


class Passage(NamedTuple):
    """A text to check: a problem's statement, or its solution or response."""

    text: str
    is_statement: bool
    answer: str | None = None
    """A statement's known final answer."""


class Finding(NamedTuple):
    """Why a text matches an item."""

    evidence: str
    score: float
    """Similarity, from 0 to 1."""


class Pairs(NamedTuple):
    """Candidate pairs of text and item; those of one text in the order in which the rule checks them."""

    texts: Ints
    items: npt.NDArray[np.int32]
    places: Ints
    """A position per pair; its meaning depends on the rule."""

    @staticmethod
    def none() -> Pairs:
        """No pairs."""
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))


class Rule(Protocol):
    """Finds candidate pairs for a whole batch with array operations, then decides on each pair."""

    name: str

    def candidates(self, batch: Batch) -> Pairs:
        """Pairs that may match."""

    def decide(self, batch: Batch, text: int, item: int, place: int) -> Finding | None:
        """The finding if the pair matches, else None."""


@dataclass
class Batch:
    """Passages, statements first, and their tokens; the rest is computed on first use."""

    passages: Sequence[Passage]

    def __post_init__(self) -> None:
        self.tokens: Tokens = tokenize([passage.text for passage in self.passages])
        self._features: dict[int, Features] = {}
        self.notes: dict[str, Any] = {}
        """Intermediate results of the rules, by rule name."""

    @cached_property
    def statements(self) -> Tokens:
        """The tokens of the statements only."""
        return self.tokens.head(sum(passage.is_statement for passage in self.passages))

    def hashes(self, text: int) -> list[int]:
        """The token hashes of one text."""
        own = self.tokens.hashes[self.tokens.offsets[text] : self.tokens.offsets[text + 1]]
        return own.tolist()  # type: ignore[no-any-return]

    def start(self, text: int, place: int) -> int:
        """Converts a position in the batch's tokens to one in the text's tokens."""
        return place - int(self.tokens.offsets[text])

    def words(self, text: int, start: int, count: int) -> list[str]:
        """At most `count` tokens of one text, starting at its token `start`."""
        first = int(self.tokens.offsets[text]) + start
        end = min(first + count, int(self.tokens.offsets[text + 1]))
        return [self.tokens.word(place) for place in range(first, end)]

    def gap(self, text: int, place: int) -> str:
        """The normalized characters before a text's token `place`; after its last token at the end."""
        tokens = self.tokens
        first, end = int(tokens.offsets[text]), int(tokens.offsets[text + 1])
        start = int(tokens.ends[first + place - 1])
        if first + place < end:
            return tokens.characters(start, int(tokens.starts[first + place]))
        following = tokens.starts[end] if end < len(tokens.starts) else len(tokens.codes)
        # Texts are joined by a line end, which is therefore part of the last gap.
        return tokens.characters(start, int(following))

    def features(self, text: int) -> Features:
        """The features of one statement."""
        if text not in self._features:
            self._features[text] = extract(self.passages[text].text)
        return self._features[text]
