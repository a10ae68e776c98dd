"""Signatures estimate the Jaccard similarity, copies are found, other texts are not."""

from __future__ import annotations

import random

import numpy as np
import pytest

from mathloop.decontamination.minhash import NearCopies, least_estimate, resemblance, signatures

WORDS = [f"word{chr(97 + i)}{chr(97 + j)}" for i in range(20) for j in range(20)]


def shingles(words: list[str]) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + 5]) for i in range(max(1, len(words) - 4))}


def jaccard(one: list[str], other: list[str]) -> float:
    ours, theirs = shingles(one), shingles(other)
    return len(ours & theirs) / len(ours | theirs)


def near_copy(words: list[str], least: float, rng: random.Random) -> list[str]:
    """A copy with words replaced, one by one, as long as the similarity stays at least `least`."""
    copy = list(words)
    for place in rng.sample(range(len(words)), len(words)):
        changed = [*copy[:place], rng.choice(WORDS), *copy[place + 1 :]]
        if jaccard(words, changed) >= least:
            copy = changed
    return copy


@pytest.fixture(scope="module")
def texts() -> list[list[str]]:
    rng = random.Random(0)
    return [rng.choices(WORDS, k=rng.randrange(60, 120)) for _ in range(300)]


def test_the_estimate_is_the_jaccard_similarity(texts):
    rng = random.Random(1)
    pairs = [(own, near_copy(own, rng.uniform(0.3, 0.95), rng)) for own in texts[:100]]
    ours, theirs = (signatures([" ".join(pair[side]) for pair in pairs]).values for side in (0, 1))
    errors = resemblance(ours, theirs) - np.array([jaccard(*pair) for pair in pairs])
    assert abs(errors.mean()) < 0.01
    assert errors.std() < 0.06


def test_95_percent_of_near_copies_at_08_are_found_and_no_other_text(texts):
    rng = random.Random(2)
    index = NearCopies()
    assert index.add([" ".join(words) for words in texts]) == [None] * len(texts)
    copies = [near_copy(words, 0.8, rng) for words in texts]
    assert np.mean([jaccard(*pair) for pair in zip(texts, copies, strict=True)]) < 0.83
    found = index.find([" ".join(words) for words in copies])
    assert np.mean([number == place for place, number in enumerate(found)]) >= 0.95
    halves = [near_copy(words, 0.5, rng) for words in texts]
    found = index.find([" ".join(words) for words in halves])
    assert sum(number is not None for number in found) <= 3


def test_copies_within_a_call_in_other_spellings_and_in_chinese():
    index = NearCopies(shingle=3)
    texts = [
        "Tom has $\\frac{1}{2}$ of 12 apples, buys 3 more. How many apples does he have?",
        "小明有12个苹果，他又买了3个，然后送给小红一半，还剩几个苹果？",
        "TOM HAS $\\dfrac12$ OF 12 APPLES, BUYS 3 MORE. HOW MANY APPLES DOES HE HAVE",
        "小明有12个苹果，他又买了3个，然后送给小红一半，还剩几个苹果",
        "",
        "...",
        "Jane",
        "jane",
    ]
    assert index.add(texts) == [None, None, 0, 1, None, None, None, 6]


def test_a_signature_does_not_depend_on_the_batch(texts):
    lines = [" ".join(words) for words in texts[:30]]
    together = signatures([*lines, "", "x" * 3_000_000])
    alone = np.concatenate([signatures([line]).values for line in lines])
    assert (together.values[:30] == alone).all()
    assert not together.filled[30]


def test_least_estimate_is_below_the_similarity():
    assert 0.7 < least_estimate(0.8) < 0.8
    assert least_estimate(1.0) == 1.0
