"""A batch of texts under examination, and what a rule says of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from mathloop.decontamination.features import Features, extract
from mathloop.decontamination.tokenization import Ints, Tokens, tokenize

Arrays: TypeAlias = Mapping[str, npt.NDArray[Any]]
"""Arrays of an index by name; may be memory maps."""


class Passage(NamedTuple):
    """A text to examine: a problem's statement, or what answers it."""

    text: str
    is_statement: bool
    answer: str | None = None
    """A statement's known final answer."""


class Finding(NamedTuple):
    """Why a text and an item belong together."""

    evidence: str
    score: float
    """How much alike they are, from 0 to 1."""


class Pairs(NamedTuple):
    """Pairs of text and item that a rule wants to look at; of one text in the order of its looking."""

    texts: Ints
    items: npt.NDArray[np.int32]
    places: Ints
    """What the rule remembers of each."""

    @staticmethod
    def none() -> Pairs:
        """No pair."""
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int32), np.zeros(0, np.int64))


class Rule(Protocol):
    """Finds candidates for a whole batch in arrays, then decides each by itself."""

    name: str

    def candidates(self, batch: Batch) -> Pairs:
        """What may match."""

    def decide(self, batch: Batch, text: int, item: int, place: int) -> Finding | None:
        """What does."""


@dataclass
class Batch:
    """Passages, all of them statements or none, and their tokens; what few need is made when asked for."""

    passages: Sequence[Passage]

    def __post_init__(self) -> None:
        self.tokens: Tokens = tokenize([passage.text for passage in self.passages])
        self._features: dict[int, Features] = {}
        self.notes: dict[str, Any] = {}
        """What a rule made of the batch, by its name."""

    @cached_property
    def statements(self) -> Tokens:
        """The tokens of the statements alone."""
        return self.tokens if self.passages[0].is_statement else self.tokens.head(0)

    def hashes(self, text: int) -> list[int]:
        """The tokens of one text, as hashes."""
        own = self.tokens.hashes[self.tokens.offsets[text] : self.tokens.offsets[text + 1]]
        return own.tolist()  # type: ignore[no-any-return]

    def start(self, text: int, place: int) -> int:
        """A place among the batch's tokens, counted from the text's first."""
        return place - int(self.tokens.offsets[text])

    def words(self, text: int, start: int, count: int) -> list[str]:
        """At most `count` tokens of one text, from its token `start` on."""
        first = int(self.tokens.offsets[text]) + start
        end = min(first + count, int(self.tokens.offsets[text + 1]))
        return [self.tokens.word(place) for place in range(first, end)]

    def gap(self, text: int, place: int) -> str:
        """What stands before one text's token at `place`, as normalized; behind its last one at the end."""
        tokens = self.tokens
        first, end = int(tokens.offsets[text]), int(tokens.offsets[text + 1])
        start = int(tokens.ends[first + place - 1])
        if first + place < end:
            return tokens.characters(start, int(tokens.starts[first + place]))
        following = tokens.starts[end] if end < len(tokens.starts) else len(tokens.codes)
        # The next text begins behind a line's end, which is therefore found here too.
        return tokens.characters(start, int(following))

    def features(self, text: int) -> Features:
        """What one statement is about."""
        if text not in self._features:
            self._features[text] = extract(self.passages[text].text)
        return self._features[text]
