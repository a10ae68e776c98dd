"""Samples in memory-mapped files: the same samples, in no process's own memory."""

from __future__ import annotations

import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

from mathloop.models.packing import Sample
from mathloop.training.encoded import EncodedSamples, write_samples
from mathloop.training.order import hash_data


def samples(count: int, length: int) -> Iterator[Sample]:
    chance = random.Random(0)
    for _ in range(count):
        prompt = chance.randrange(length)
        tokens = [chance.randrange(151_936) for _ in range(length - chance.randrange(length // 2))]
        weights = [0.0] * prompt + [float(chance.random() < 0.9) for _ in tokens[prompt:]]
        yield Sample(tokens, weights[: len(tokens)], min(prompt, len(tokens)))


def test_samples_come_back_as_they_were(tmp_path: Path) -> None:
    expected = list(samples(50, 40))
    write_samples(tmp_path / "encoded", expected, {"taken": 60})
    read = EncodedSamples(tmp_path / "encoded")
    assert list(read) == expected
    assert read[3:5] == expected[3:5]
    assert read.summary["taken"] == 60
    assert read.summary["hash"] == hash_data(sample.tokens for sample in expected)
    write_samples(tmp_path / "encoded", [], {})
    assert list(EncodedSamples(tmp_path / "encoded")) == []


def test_neither_writing_nor_reading_keeps_them_in_memory(tmp_path: Path) -> None:
    tracemalloc.start()
    try:
        write_samples(tmp_path / "encoded", samples(300, 1000), {})
        read = EncodedSamples(tmp_path / "encoded")
        longest = max(len(sample.tokens) for sample in read)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    tokens = read.summary["tokens"]
    assert tokens > 200_000
    assert peak < tokens + 100 * longest  # in lists it was 31.5 bytes per token and process
    size = sum(path.stat().st_size for path in (tmp_path / "encoded").iterdir())
    assert size < 5.1 * tokens
