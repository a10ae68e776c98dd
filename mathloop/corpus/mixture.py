"""Mixes sources of documents by weights, and finds weights by ablations on a small model."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mathloop.corpus.config import SourceConfig
from mathloop.errors import BadConfig, BadData
from mathloop.records import Document, read_documents

TrainAndEvaluate = Callable[[Mapping[str, float]], float]
"""From shares of the sources, which sum to 1, to the score of a small model trained on such a mixture."""


class Trial(NamedTuple):
    """One mixture that was tried."""

    shares: dict[str, float]
    score: float


class Ablation(NamedTuple):
    """The best mixture, and everything that was tried, in order."""

    shares: dict[str, float]
    trials: list[Trial]


def mix(
    sources: Sequence[SourceConfig], files: Mapping[str, Path], characters: int = 0
) -> Iterator[Document]:
    """Yields documents such that each source has its share of the characters, throughout the stream.

    A source that runs out begins again, up to its `epochs`; then the others go on without it. The result is
    the same every time, and memory does not grow with the documents.

    Args:
        files: the documents of each source by name, from which empty sources are missing.
        characters: length of the corpus; 0: every document once.
    """
    weights = {source.name: source.weight for source in sources if source.name in files}
    epochs = {source.name: source.epochs if characters else 1 for source in sources}
    streams = {name: _repeated(files[name], name, epochs[name]) for name in weights}
    taken = dict.fromkeys(weights, 0)
    while streams and (not characters or sum(taken.values()) < characters):
        # The source that is furthest behind its share.
        name = min(streams, key=lambda name: (taken[name] / weights[name], name))
        document = next(streams[name], None)
        if document is None:
            del streams[name]
            continue
        taken[name] += max(1, len(document.text))
        yield document


def _repeated(path: Path, name: str, epochs: int) -> Iterator[Document]:
    for epoch in range(epochs):
        for document in read_documents(path):
            copy = f"{document.id}@{epoch + 1}" if epoch else document.id
            yield replace(document, id=copy, source=name)


def ablate(
    names: Sequence[str], train_and_evaluate: TrainAndEvaluate, *, rounds: int = 1, factor: float = 3.0
) -> Ablation:
    """Finds shares by trying, one source after another, a mixture with more and one with less of it.

    Begins with equal shares. Each change that improves the score is kept; ends early after a round without
    any. Trains at most 1 + 2 · rounds · sources models. Differences as small as those between two seeds mean
    nothing: `train_and_evaluate` should average over seeds if they are.

    Args:
        factor: by which a source's weight is multiplied and divided.

    Raises:
        BadConfig: there are fewer than two sources, or the factor is not above 1.
    """
    if len(set(names)) < 2 or factor <= 1:
        raise BadConfig("an ablation needs at least two sources with different names, and a factor above 1")
    best = Trial(_shares(dict.fromkeys(names, 1.0)), 0.0)
    best = best._replace(score=train_and_evaluate(best.shares))
    trials = [best]
    for _ in range(rounds):
        before = best
        for name, change in itertools.product(names, (factor, 1 / factor)):
            shares = _shares({**best.shares, name: best.shares[name] * change})
            trial = Trial(shares, train_and_evaluate(shares))
            trials.append(trial)
            best = max(best, trial, key=lambda one: one.score)
        if best is before:
            break
    return Ablation(best.shares, trials)


def _shares(weights: Mapping[str, float]) -> dict[str, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def check_filled(files: Mapping[str, Path], sources: Sequence[SourceConfig]) -> None:
    """Raises BadData if no document of any source is left."""
    if not files:
        names = ", ".join(source.name for source in sources)
        raise BadData(f"no document of any source is left ({names}); the report says why they were dropped")
