"""Finds the benchmark item that contaminates a row, and says why."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mathloop.decontamination.batches import Batch, Passage, Rule
from mathloop.decontamination.items import Item, Items

LONGEST = 200_000
"""Characters; a longer text is looked at in pieces of this length, each with the end of the one before."""
_OVERLAP = 20_000
_BATCH = 1 << 19
"""Characters of a batch, whose arrays fit the processor's cache."""


@dataclass(frozen=True, slots=True)
class Match:
    """Why a row is contaminated."""

    item: Item
    rule: str
    evidence: str
    score: float
    """From 0 to 1: an LCS ratio, 1 for a copy, a likeness."""
    text: str
    """The passage of the row that touches the item."""


def find_matches(
    rows: Sequence[Sequence[Passage]], rules: Sequence[Rule], items: Items
) -> list[Match | None]:
    """For each row of passages the first passage's first rule's strongest match, or None.

    Rules are tried in their order; a row is a statement and perhaps what answers it.
    """
    found: dict[int, tuple[int, Match]] = {}
    for owners, batch in _batches(rows):
        for place, match in _matches(batch, rules, items):
            row, order = owners[place]
            if row not in found or order < found[row][0]:
                found[row] = order, match
    return [found[row][1] if row in found else None for row in range(len(rows))]


def _matches(batch: Batch, rules: Sequence[Rule], items: Items) -> Iterator[tuple[int, Match]]:
    done: set[int] = set()
    for rule in rules:
        for text, item, place in zip(*(each.tolist() for each in rule.candidates(batch)), strict=True):
            if text in done:
                continue
            finding = rule.decide(batch, text, item, place)
            if finding is not None:
                done.add(text)
                passage = batch.passages[text].text
                yield text, Match(items[item], rule.name, finding.evidence, finding.score, passage)


def _batches(rows: Sequence[Sequence[Passage]]) -> Iterator[tuple[list[tuple[int, int]], Batch]]:
    """Batches of passages of one kind each, with the (row, place in the row) that each belongs to.

    ASCII texts apart from others: they take a fourth of the memory and half of the time.
    """
    parts: dict[bool, list[tuple[int, int, Passage]]] = {True: [], False: []}
    sizes = {True: 0, False: 0}
    for row, passages in enumerate(rows):
        for order, passage in enumerate(passages):
            for piece in (passage,) if len(passage.text) <= LONGEST else _pieces(passage):
                kind = piece.text.isascii()
                parts[kind].append((row, order, piece))
                sizes[kind] += len(piece.text)
                if sizes[kind] >= _BATCH:
                    yield _batch(parts[kind])
                    parts[kind], sizes[kind] = [], 0
    for left in parts.values():
        if left:
            yield _batch(left)


def _batch(parts: list[tuple[int, int, Passage]]) -> tuple[list[tuple[int, int]], Batch]:
    parts.sort(key=lambda part: not part[2].is_statement)
    return [(row, order) for row, order, _ in parts], Batch([passage for _, _, passage in parts])


def _pieces(passage: Passage) -> Iterator[Passage]:
    for start in range(0, len(passage.text) - _OVERLAP, LONGEST - _OVERLAP):
        yield passage._replace(text=passage.text[start : start + LONGEST])
