"""A fastText classifier that tells mathematical text from other text.

fasttext-wheel trains and predicts. Its own `predict` fails under numpy 2, so the compiled function below it
is called. A file that was cut short loads without an error and then scores everything 0.5, and a changed one
may do anything: only files whose digest was recorded when this module wrote them are loaded.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mathloop.corpus.config import RecallConfig
from mathloop.errors import Corrupt
from mathloop.files import disk, reading, replacing, write_file

Scores = npt.NDArray[np.float32]

MATH, REST = "__label__math", "__label__rest"
_CHARACTERS = 6000
"""Of a text, from its beginning."""
_TOKEN = re.compile("\\\\?[a-z]+|[0-9]+|[\u3400-\u4dbf\u4e00-\u9fff]|[^\\W_a-z0-9]+|[^\\w\\s]")


def line_of(text: str) -> str:
    """The tokens of a text on one line: lower case, numbers by their length, ideographs one by one.

    No underscore stays, so that no page can contain one of fastText's labels.
    """
    found = _TOKEN.findall(text[:_CHARACTERS].lower())
    return " ".join("0" * min(len(token), 5) if token[0].isdigit() else token for token in found)


class Classifier:
    """A trained model."""

    def __init__(self, path: Path) -> None:
        """Loads a file of `train`; raises Corrupt if it is not the one that was written."""
        import fasttext

        with reading(path):
            digest = _digest(path)
            with reading(_record(path)):
                recorded = _record(path).read_text(encoding="ascii").strip()
        if digest != recorded:
            raise Corrupt(f"{path}: not the classifier that was trained; delete its folder to train it again")
        fasttext.FastText.eprint = _ignore
        self._model: Any = fasttext.load_model(str(path)).f

    def scores(self, lines: Sequence[str]) -> Scores:
        """[lines] Probability that each is mathematical; 0 for an empty line."""
        values = np.zeros(len(lines), np.float32)
        for number, line in enumerate(lines):
            if not line:
                continue
            for probability, label in self._model.predict(f"{line}\n", 2, 0.0, "strict"):
                if label == MATH:
                    values[number] = min(probability, 1.0)
        return values


def train(path: Path, lines: Iterable[tuple[bool, str]], config: RecallConfig) -> None:
    """Fits a classifier on (is it mathematical, line) and saves it. Equal input gives an equal file."""
    import fasttext

    samples = path.with_suffix(".txt")
    with disk(path), open(samples, "w", encoding="utf-8") as file:
        for positive, line in lines:
            file.write(f"{MATH if positive else REST} {line}\n")
    with replacing(path) as partial, disk(path):
        model = fasttext.train_supervised(
            str(samples),
            dim=config.dimensions,
            epoch=config.epochs,
            lr=config.learning_rate,
            wordNgrams=config.ngrams,
            bucket=config.buckets,
            minCount=3,
            thread=1,  # several update the same weights in any order: another file each time
            verbose=0,
        )
        model.save_model(str(partial))
        write_file(_record(path), _digest(partial).encode())
    os.remove(samples)


def _record(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _ignore(*_: object) -> None:
    """In place of a warning about an interface of 2018."""
