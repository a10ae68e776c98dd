"""Finds the benchmark item that contaminates a row, and says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter

import numpy as np

from mathloop.decontamination.batches import Batch, Passage, Rule
from mathloop.decontamination.hashing import Ints
from mathloop.decontamination.items import Item, Items
from mathloop.decontamination.prefilter import LONGEST, Marks, Prefilter, TooLong
from mathloop.decontamination.prompts import questions

_OVERLAP = 20_000
"""Characters that the pieces of a text longer than `LONGEST` share."""
_BATCH = 1 << 19
"""Characters per batch, so that its arrays fit the processor's cache."""

_FEW = 1 << 16
"""Characters that one batch takes hardly longer for, whatever they are."""

_text: Callable[[Passage], str] = itemgetter(0)
_is_statement: Callable[[Passage], bool] = itemgetter(1)


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules in the order in which they are tried, and the filter of the texts that they may match."""

    rules: Sequence[Rule]
    prefilter: Prefilter


@dataclass(frozen=True, slots=True)
class Match:
    """Why a row is contaminated."""

    item: Item
    rule: str
    evidence: str
    score: float
    """From 0 to 1: the LCS ratio, 1 for a copy, or the likeness."""
    text: str
    """The passage of the row that matches the item."""


def find_matches(rows: Sequence[Sequence[Passage]], rules: Rules, items: Items) -> list[Match | None]:
    """Per row, the match of its first contaminated passage, or None.

    A row is a statement and, if there is one, its solution or response; of a statement with a prompt around
    it the bare question is checked too. Rules are tried in order, and the first that matches decides; each
    rule tries its most likely item first.
    """
    pieces, owners, (marks, may_have_prompt) = _marked(rows, rules.prefilter)
    firsts = np.flatnonzero(np.diff(owners, prepend=-1))
    prompted = owners[firsts[may_have_prompt[firsts]]]
    bare = [questions(rows[row]) for row in prompted.tolist()]
    if any(bare):
        more, of_prompted, more_marks = _marked(bare, rules.prefilter)
        pieces, owners = pieces + more, np.concatenate((owners, prompted[of_prompted]))
        marks = np.concatenate((marks, more_marks.may_match))
    found: dict[int, tuple[int, Match]] = {}
    suspects = np.flatnonzero(marks).tolist()
    for chosen in _batches([pieces[place] for place in suspects]):
        chosen = [suspects[place] for place in chosen]
        batch = Batch([pieces[place] for place in chosen])
        for text, match in _matches(batch, rules.rules, items):
            place = chosen[text]
            row = int(owners[place])
            if row not in found or place < found[row][0]:
                found[row] = place, match
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


def _batches(pieces: Sequence[Passage]) -> Iterator[list[int]]:
    """The positions of each batch's pieces, statements first.

    ASCII texts are separate: they take a fourth of the memory and half of the time. Statements are separate
    from solutions, which fewer rules check. There are as few batches as `_BATCH` allows, of about equal size:
    a small one takes almost as long, which is why few texts are not separated.
    """
    texts = list(map(_text, pieces))
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    is_ascii = np.fromiter(map(str.isascii, texts), bool, len(texts))
    is_statement = np.fromiter(map(_is_statement, pieces), bool, len(texts))
    if len(texts) and int(sizes.sum()) < _FEW:
        yield np.argsort(~is_statement, kind="stable").tolist()
        return
    kinds = 2 * is_ascii + is_statement
    for kind in np.unique(kinds):
        yield from _even_batches(np.flatnonzero(kinds == kind), sizes)


def _even_batches(places: Ints, sizes: Ints) -> list[list[int]]:
    ends = np.cumsum(sizes[places])
    count = max(1, round(int(ends[-1]) / _BATCH))
    inner = np.searchsorted(ends, [int(ends[-1]) * part // count for part in range(1, count)])
    return [part.tolist() for part in np.split(places, inner) if len(part)]


def _marked(rows: Sequence[Sequence[Passage]], prefilter: Prefilter) -> tuple[list[Passage], Ints, Marks]:
    """The passages of all rows, long ones in pieces; the row of each, and its marks.

    Their lengths are known when they are marked: to look at each before would take as long as a rule.
    """
    try:
        pieces = list(chain.from_iterable(rows))
        marks = prefilter.marks(pieces)
    except TooLong:
        rows = [[piece for passage in passages for piece in _pieces(passage)] for passages in rows]
        pieces = list(chain.from_iterable(rows))
        marks = prefilter.marks(pieces)
    return pieces, np.repeat(np.arange(len(rows)), list(map(len, rows))), marks


def _pieces(passage: Passage) -> list[Passage]:
    if len(passage.text) <= LONGEST:
        return [passage]
    starts = range(0, len(passage.text) - _OVERLAP, LONGEST - _OVERLAP)
    return [passage._replace(text=passage.text[start : start + LONGEST]) for start in starts]
