"""Rule `rephrased`: the same problem in other words, with the same numbers.

`candidates` and `formulas` find the items that a statement may rephrase, `similarity` computes how likely
each is; known answers must agree.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mathloop.decontamination.answer_conflicts import disagree, known_answer, possible_values, share_no_number
from mathloop.decontamination.batches import Arrays, Batch, Finding, Pairs
from mathloop.decontamination.candidates import Candidates, unnumbered
from mathloop.decontamination.features import Features, extract
from mathloop.decontamination.formulas import Formulas
from mathloop.decontamination.hashed_features import numbers_of, variables_of
from mathloop.decontamination.items import Item, Items
from mathloop.decontamination.similarity import coincide, formulas_differ, likeness, unknown_likeness
from mathloop.decontamination.tokenization import Tokens

_SHOWN = 8
"""Common features of each kind in the evidence."""


class Rephrased:
    """The rule over an index of items."""

    name = "rephrased"

    def __init__(self, items: Items, arrays: Arrays, *, likeness: float) -> None:
        self._items, self._candidates, self._formulas = items, Candidates(arrays), Formulas(arrays)
        self._likeness = likeness

    @staticmethod
    def build(items: Sequence[Item], tokens: Tokens) -> Arrays:
        """The arrays that the rule needs in addition to the items' own."""
        without_numbers = unnumbered(tokens, variables_of(tokens), numbers_of(tokens))
        formulas = {item: extract(items[item].text) for item in without_numbers.tolist()}
        answers = possible_values(item.answer for item in items)
        return {**Candidates.build(tokens, answers), **Formulas.build(formulas, len(items))}

    def candidates(self, batch: Batch) -> Pairs:
        """Pairs of statements and items that may be the same problem."""
        statements = batch.statements
        if not len(statements.hashes):
            return Pairs.none()
        answers = [passage.answer for passage in batch.passages]
        texts, items, without_numbers = self._candidates.find(statements, answers)
        by_formula = [
            (text, item)
            for text in without_numbers.tolist()
            for item in self._formulas.find(batch.features(text))
        ]
        more = np.array(by_formula, np.int64).reshape(-1, 2)
        texts, items = np.concatenate((texts, more[:, 0])), np.concatenate((items, more[:, 1]))
        return Pairs(texts, items, np.zeros(len(texts), np.int64))

    def decide(self, batch: Batch, text: int, item: int, place: int) -> Finding | None:
        """Decides by likeness and known answers; `place` is unused."""
        answers = self._items.answer(item), batch.passages[text].answer
        if share_no_number(*answers) or self._items.is_stock(item):
            return None
        wanted, own = self._items.features(item), batch.features(text)
        score = likeness(wanted, own, self._likeness)
        if score <= self._likeness:
            return None
        texts = self._items[item].text, batch.passages[text].text
        ours, theirs = map(known_answer, answers, texts)
        known = ours is not None and theirs is not None
        if score <= (self._likeness if known else unknown_likeness(self._likeness)):
            return None
        if coincide(wanted, own, known=known) or formulas_differ(wanted, own) or disagree(ours, theirs):
            return None
        return Finding(f"{_common(wanted, own)} ({score:.2f})", score)


def _common(one: Features, other: Features) -> str:
    parts = []
    for kind in ("numbers", "words", "formulas"):
        ours, theirs = getattr(one, kind), getattr(other, kind)
        both = sorted((name for name in ours if name in theirs), key=lambda name: (-ours[name], name))
        if both:
            parts.append(f"{kind} {', '.join(both[:_SHOWN])}")
    return f"the same {'; '.join(parts)}"
