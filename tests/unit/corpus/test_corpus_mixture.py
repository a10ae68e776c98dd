"""Mixtures have their shares all along, and an ablation finds the source that helps."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter

import pytest

from mathloop.corpus.config import SourceConfig
from mathloop.corpus.mixture import ablate, mix
from mathloop.errors import BadConfig
from mathloop.records import Document, write_documents


@pytest.fixture
def files(tmp_path):
    places = {}
    for name, length, count in (("web", 100, 400), ("books", 50, 300)):
        places[name] = tmp_path / f"{name}.jsonl"
        write_documents(places[name], (Document(f"{name}{i}", "x" * length) for i in range(count)))
    return places


def sources(web: float, books: float, epochs: int = 4) -> list[SourceConfig]:
    weights = {"web": web, "books": books}
    return [SourceConfig(name=n, path="p", weight=w, epochs=epochs) for n, w in weights.items()]


def test_shares_hold_from_the_beginning(files):
    mixed = list(mix(sources(3, 1), files, characters=20_000))
    for part in (mixed[:40], mixed):
        sizes = Counter()
        for document in part:
            sizes[document.source] += len(document.text)
        assert sizes["web"] / sizes.total() == pytest.approx(0.75, abs=0.05)
    assert sum(len(document.text) for document in mixed) == pytest.approx(20_000, abs=100)


def test_a_small_source_repeats_up_to_its_epochs_with_ids_of_its_own(files):
    mixed = list(mix(sources(1, 1, epochs=2), files, characters=10**9))
    assert Counter(document.source for document in mixed) == {"web": 800, "books": 600}
    assert len({document.id for document in mixed}) == 1400
    assert len(list(mix(sources(1, 1), files))) == 700


def test_ablation_of_a_bigram_model_prefers_the_source_like_the_test():
    rng = random.Random(0)
    texts = {
        "math": [f"{a}+{b}={a + b}." for a in range(20) for b in range(20)],
        "noise": ["".join(rng.choices("qwxzj ", k=8)) for _ in range(400)],
        "prose": ["the sum is " + str(i) for i in range(400)],
    }
    test = [f"{a}+{b}={a + b}." for a in range(20, 30) for b in range(20, 30)]

    def train_and_evaluate(shares):
        counts, totals = Counter(), Counter()
        for name, share in shares.items():
            for text in texts[name][: int(400 * share)]:
                counts.update(itertools.pairwise(text))
                totals.update(text[:-1])
        pairs = [pair for text in test for pair in itertools.pairwise(text)]
        return sum(math.log((counts[p] + 0.1) / (totals[p[0]] + 5)) for p in pairs) / len(pairs)

    result = ablate(list(texts), train_and_evaluate, rounds=2)
    assert max(result.shares, key=result.shares.get) == "math"
    assert min(result.shares, key=result.shares.get) == "noise"
    assert result.trials[0].shares == dict.fromkeys(texts, 1 / 3)
    assert len(result.trials) <= 1 + 2 * 2 * 3
    assert sum(result.shares.values()) == pytest.approx(1)
    with pytest.raises(BadConfig, match="two sources"):
        ablate(["one"], train_and_evaluate)
