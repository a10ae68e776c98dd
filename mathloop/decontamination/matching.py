"""Finds the benchmark item that contaminates a text.

Two rules, on normalized tokens:

- `ngram_lcs` (Qwen2.5-Math report, section 4): a shared n-gram, and a longest common subsequence longer than
  `lcs_ratio` of the shorter of the two texts. The report does not say what the ratio divides by; the shorter
  text is our reading, since it also finds an item inside a long solution.
- `exact`: equal tokens, or an item of at least `CONTAINED` tokens that the text holds whole. It serves items
  too short to have an n-gram.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import xxhash
from rapidfuzz.distance import LCSseq

from mathloop.decontamination.normalization import tokens

CONTAINED = 8
"""Fewest tokens of an item that counts when a text merely holds it."""


@dataclass(frozen=True, slots=True)
class Item:
    """One benchmark question."""

    benchmark: str
    text: str


@dataclass(frozen=True, slots=True)
class Match:
    """Why a text is contaminated."""

    item: Item
    rule: str
    evidence: str


class Benchmarks:
    """An index of benchmark items by the hashes of their n-grams."""

    def __init__(self, items: Iterable[Item], *, rules: Sequence[str], ngram: int, lcs_ratio: float) -> None:
        self._rules = {"ngram_lcs": self._ngram_lcs, "exact": self._exact}
        self._order, self._ngram, self._lcs_ratio = tuple(rules), ngram, lcs_ratio
        self.items: list[Item] = []
        self._tokens: list[tuple[str, ...]] = []
        self._grams: defaultdict[int, list[int]] = defaultdict(list)
        self._whole: dict[tuple[str, ...], int] = {}
        self._openings: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for item in items:
            self._add(item)

    def find(self, text: str) -> Match | None:
        """The first rule's strongest match, or None where no item contaminates `text`."""
        words = tokens(text)
        for rule in self._order:
            match = self._rules[rule](words)
            if match is not None:
                return match
        return None

    def _add(self, item: Item) -> None:
        index, words = len(self.items), tokens(item.text)
        self.items.append(item)
        self._tokens.append(words)
        if "ngram_lcs" in self._order:
            for gram in {key for key, _ in _hashes(words, self._ngram)}:
                self._grams[gram].append(index)
        if words:
            self._whole.setdefault(words, index)
        if len(words) >= CONTAINED:
            self._openings[words[:CONTAINED]].append(index)

    def _ngram_lcs(self, words: tuple[str, ...]) -> Match | None:
        shared: dict[int, str] = {}
        for key, gram in _hashes(words, self._ngram):
            for index in self._grams.get(key, ()):
                shared.setdefault(index, gram)
        best: tuple[float, int, int, int] | None = None
        for index in sorted(shared):
            shorter = min(len(words), len(self._tokens[index]))
            length = int(LCSseq.similarity(words, self._tokens[index]))
            if length > self._lcs_ratio * shorter and (best is None or length / shorter > best[0]):
                best = (length / shorter, index, length, shorter)
        if best is None:
            return None
        ratio, index, length, shorter = best
        evidence = f"shares “{shared[index]}”; LCS {length} of {shorter} tokens ({ratio:.2f})"
        return Match(self.items[index], "ngram_lcs", evidence)

    def _exact(self, words: tuple[str, ...]) -> Match | None:
        equal = self._whole.get(words)
        if equal is not None:
            return Match(self.items[equal], "exact", f"the same {len(words)} tokens")
        for start in range(len(words) - CONTAINED + 1):
            for index in self._openings.get(words[start : start + CONTAINED], ()):
                item = self._tokens[index]
                if words[start : start + len(item)] == item:
                    evidence = f"holds all {len(item)} tokens of the item, from token {start + 1}"
                    return Match(self.items[index], "exact", evidence)
        return None


def _hashes(words: tuple[str, ...], size: int) -> Iterator[tuple[int, str]]:
    for start in range(len(words) - size + 1):
        gram = " ".join(words[start : start + size])
        yield xxhash.xxh3_64_intdigest(gram), gram
