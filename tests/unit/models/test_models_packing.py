"""Packs against a slow, obvious reading of the samples; micro-batches against what they promise."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mathloop.models.packing import Pack, Sample, micro_batches, pack

# Few tokens and short prompts, so that equal prompts come up.
token = st.integers(0, 3)
weight = st.sampled_from([0.0, 0.0, 1.0, 0.25])


@st.composite
def sample(draw: st.DrawFn) -> Sample:
    tokens = draw(st.lists(token, min_size=1, max_size=6))
    weights = draw(st.lists(weight, min_size=len(tokens), max_size=len(tokens)))
    return Sample(tokens, weights, draw(st.integers(0, min(2, len(tokens)))))


def places(packed: Pack, i: int) -> list[int]:
    """Where the tokens of sample `i` lie in the row."""
    return [at for span in packed.layout.spans[i] for at in range(*span)]


@given(st.lists(sample(), min_size=1, max_size=8), st.booleans())
def test_a_pack_holds_what_the_samples_say(samples: list[Sample], share: bool) -> None:
    packed = pack(samples, share_prompts=share)
    learned = []
    for i, s in enumerate(samples):
        where = places(packed, i)
        assert packed.tokens[where].tolist() == s.tokens
        assert packed.positions[where].tolist() == list(range(len(s.tokens)))
        assert packed.ends[i] == where[-1]
        learned += [
            (where[t - 1], s.tokens[t], s.weights[t], i) for t in range(1, len(s.tokens)) if s.weights[t]
        ]
    columns = packed.at, packed.targets, packed.weights, packed.owner
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == learned
    assert packed.weights.dtype == torch.float32
    assert packed.count == sum(len(s.tokens) for s in samples)


@given(st.lists(sample(), min_size=1, max_size=8), st.booleans())
def test_nothing_else_stands_in_the_row(samples: list[Sample], share: bool) -> None:
    packed = pack(samples, share_prompts=share)
    used = [at for i in range(len(samples)) for at in places(packed, i)]
    assert set(used) == set(range(len(packed.tokens)))
    prompts: dict[tuple[int, ...], int] = {}
    for s in samples:
        if share and s.prompt < len(s.tokens):
            name = tuple(s.tokens[: s.prompt])
            prompts[name] = prompts.get(name, 0) + 1
    saved = sum((count - 1) * len(name) for name, count in prompts.items())
    assert len(packed.tokens) == packed.count - saved
    assert sum(packed.layout.lengths) == len(packed.tokens)


def test_responses_of_a_group_share_the_state_that_predicts_their_first_token() -> None:
    prompt = [5, 6, 7]
    samples = [Sample([*prompt, 8, 9], [0, 0, 0, 1.0, 1.0], 3), Sample([*prompt, 4], [0, 0, 0, 1.0], 3)]
    packed = pack(samples, share_prompts=True)
    assert packed.tokens.tolist() == [5, 6, 7, 8, 9, 4]
    assert packed.positions.tolist() == [0, 1, 2, 3, 4, 3]
    assert packed.at.tolist() == [2, 3, 2]
    assert packed.targets.tolist() == [8, 9, 4]
    assert packed.ends.tolist() == [4, 5]


lengths = st.lists(st.integers(1, 40), max_size=30)


@given(lengths, st.integers(1, 60))
def test_micro_batches_are_a_partition_within_the_budget(lengths: list[int], budget: int) -> None:
    groups = micro_batches(lengths, budget)
    assert sorted(i for group in groups for i in group) == list(range(len(lengths)))
    for group in groups:
        assert group
        assert len(group) == 1 or sum(lengths[i] for i in group) <= budget
    # Like lengths stand together.
    inside = [lengths[i] for group in groups for i in group]
    assert inside == sorted(inside)
    assert groups == micro_batches(lengths, budget)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=7), st.integers(40, 90))
def test_micro_batches_are_few_and_even(lengths: list[int], budget: int) -> None:
    ordered = sorted(lengths)

    def largest(first: int, count: int) -> int:
        """The least that the largest of `count` groups of the samples after `first` can hold."""
        if count == 1:
            return sum(ordered[first:])
        ends = range(first + 1, len(ordered))
        return min((max(sum(ordered[first:end]), largest(end, count - 1)) for end in ends), default=10**9)

    groups = micro_batches(lengths, budget)
    assert max(sum(lengths[i] for i in group) for group in groups) == largest(0, len(groups))
    assert len(groups) == 1 or largest(0, len(groups) - 1) > budget


@pytest.mark.parametrize("budget", [1, 7, 100])
def test_a_sample_over_the_budget_stands_alone(budget: int) -> None:
    assert micro_batches([200, 300, 250], budget) == [[0], [2], [1]]
    assert micro_batches([], budget) == []
