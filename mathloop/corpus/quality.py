"""Step: keeps the best documents, as a small language model rates them.

The model rates a random sample (`rating`). A linear model over cheap features is fitted to these ratings by
ridge regression, and scores all documents.
"""

from __future__ import annotations

import heapq
import json
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import xxhash

from mathloop.corpus.classifier import line_of
from mathloop.corpus.config import QualityConfig
from mathloop.corpus.steps import Outcome, run_step
from mathloop.decontamination.tokenization import tokenize
from mathloop.errors import BadData
from mathloop.records import Document, read_documents
from mathloop.stages import StageReport, timed

Floats = npt.NDArray[np.float64]
Scorer = Callable[[Sequence[str]], Sequence[float]]
"""Rates texts, higher is better, such as `rating.Rater`."""

_HASHED = 512
"""Features for words, which share slots."""
_RIDGE = 1.0
_HELD_OUT = 5
"""Every fifth document of the sample tests the linear model."""
_STOP_WORDS = "the a an of to in is are be that it we for and or as with by on this if then so from has have"
_STOP = frozenset(_STOP_WORDS.split())


class Linear(NamedTuple):
    """A linear model over `features`."""

    weights: Floats
    mean: Floats
    scale: Floats

    def scores(self, texts: Sequence[str]) -> Floats:
        """[texts] Estimated score of each."""
        return np.asarray(self.matrix(texts) @ self.weights)

    def matrix(self, texts: Sequence[str]) -> Floats:
        """[texts, features] Standardized, after a constant."""
        rows = (np.stack([features(text) for text in texts]) - self.mean) / self.scale
        return np.concatenate((np.ones((len(rows), 1)), rows), axis=1)


def features(text: str) -> Floats:
    """[features] Lengths, shares of kinds of characters and lines, repetition, and which words occur."""
    tokens = line_of(text).split()
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    size, words = max(1, len(text)), [token for token in tokens if token.isalpha()]
    shares = [
        np.log1p(len(text)),
        np.log1p(np.mean([len(line) for line in lines])),
        len(words) / max(1, len(tokens)),
        sum(map(len, words)) / max(1, len(words)),
        sum(word in _STOP for word in words) / max(1, len(words)),
        len(set(tokens)) / max(1, len(tokens)),
        len(set(lines)) / len(lines),
        sum(line.rstrip()[-1:] in ".:;!?。！？" for line in lines) / len(lines),
        sum(len(line.split()) < 4 for line in lines) / len(lines),
        text.count("$") / size,
        text.count("\\") / size,
        sum(map(text.count, "{}();_=")) / size,
        sum(map(text.count, "0123456789")) / size,
        len(re.findall("[A-Z]", text)) / size,
        len(re.findall("[\u2e80-\U0003ffff]", text)) / size,
    ]
    counts = np.bincount(tokenize([text]).hashes % np.uint64(_HASHED), minlength=_HASHED)
    return np.concatenate((shares, np.log1p(counts)))


def fit(texts: Sequence[str], scores: Sequence[float]) -> tuple[Linear, float]:
    """The linear model of these scores, and its correlation with those of every fifth text, held out."""
    values = np.asarray(scores, float)
    rows = np.stack([features(text) for text in texts])
    test = np.arange(len(rows)) % _HELD_OUT == 0
    model = Linear(np.zeros(0), rows.mean(axis=0), rows.std(axis=0) + 1e-9)
    own = np.concatenate((np.ones((len(rows), 1)), (rows - model.mean) / model.scale), axis=1)
    tried = own[test] @ _ridge(own[~test], values[~test])
    spread = float(tried.std() * values[test].std())
    agreement = float(np.mean((tried - tried.mean()) * (values[test] - values[test].mean()))) / max(
        spread, 1e-12
    )
    return model._replace(weights=_ridge(own, values)), agreement


def _ridge(rows: Floats, values: Floats) -> Floats:
    penalty = np.full(rows.shape[1], _RIDGE * len(rows) / 100)
    penalty[0] = 0
    return np.asarray(np.linalg.solve(rows.T @ rows + np.diag(penalty), rows.T @ values), float)


@timed
def run(
    *,
    documents: Path,
    out: Path,
    dropped: Path | None,
    config: QualityConfig,
    scorer: Scorer,
    seed: int = 0,
) -> StageReport:
    """Writes the share `config.keep` of the documents with the highest scores, with their scores.

    Raises:
        BadData: there are fewer than 10 documents, or a score is not finite.
    """
    sample = _sample(documents, config.sample, seed)
    if len(sample) < 2 * _HELD_OUT:
        raise BadData(
            f"{len(sample)} documents are too few to learn their quality from; expected 10", path=documents
        )
    scores = list(scorer(sample))
    if not np.isfinite(scores).all():
        raise BadData("the scoring model gives scores that are not finite; choose another quality.model")
    model, agreement = fit(sample, scores)
    least = float(np.quantile(model.scores(sample), 1 - config.keep)) if config.keep < 1 else -np.inf
    # The fitted model is part of the key: a resumed run that fitted another one begins again.
    settings = json.dumps([config.model_dump_json(), seed, xxhash.xxh3_64_hexdigest(model.weights.tobytes())])
    report = run_step(
        "quality",
        partial(_outcomes, model, least),
        partial(read_documents, documents),
        inputs=[documents],
        out=out,
        dropped=dropped,
        settings=settings,
    )
    report.values |= {"scored by the model": float(len(sample)), "correlation of the linear model": agreement}
    return report


def _outcomes(model: Linear, least: float, batch: Sequence[Document]) -> Iterator[Outcome]:
    for document, score in zip(batch, model.scores([one.text for one in batch]).tolist(), strict=True):
        scored = Document(
            document.id, document.text, document.url, document.language, document.source, round(score, 4)
        )
        yield ("" if score >= least else "low quality"), scored


def _sample(documents: Path, count: int, seed: int) -> list[str]:
    """Texts of a random sample, the same ones every time, in the documents' order."""
    heap: list[tuple[int, int, str]] = []
    for number, document in enumerate(read_documents(documents)):
        entry: tuple[int, int, str] = (-xxhash.xxh3_64_intdigest(f"{seed} {number}"), number, document.text)
        if len(heap) < count:
            heapq.heappush(heap, entry)
        elif entry > heap[0]:
            heapq.heapreplace(heap, entry)
    return [text for _, _, text in sorted(heap, key=lambda entry: entry[1])]
