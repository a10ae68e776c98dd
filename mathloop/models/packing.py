"""Concatenates samples in one row: no padding, and a prompt that several samples share is in it once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sample:
    """Tokens of one prompt and response."""

    tokens: list[int]
    weights: list[float]
    """Loss weight of predicting each token from those before it: 0 is not learned; the first is ignored."""
    prompt: int
    """Leading tokens that are not learned and that samples of one problem may share."""


def common_prefix(rows: Sequence[Sequence[int]]) -> int:
    """Tokens that all rows begin with; of each row one is left over at least."""
    shortest = min(map(len, rows))
    columns = zip(*rows, strict=False)  # up to the shortest
    common = next((i for i, column in enumerate(columns) if len(set(column)) > 1), shortest)
    return min(common, shortest - 1)


@dataclass(frozen=True)
class Layout:
    """The segments of a row, in order: shared prompts, the responses to each of them, then whole samples."""

    lengths: list[int]
    """Tokens of each segment."""
    followers: list[int]
    """How many segments follow each shared prompt."""
    spans: list[list[tuple[int, int]]]
    """Position of each sample in the row, in the order of the samples: one or two pieces [start, stop)."""

    def shared_prompts(self) -> Iterator[tuple[int, int, int]]:
        """(segment of a shared prompt, first segment that follows it, the one after the last)."""
        first = len(self.followers)
        for prompt, count in enumerate(self.followers):
            yield prompt, first, first + count
            first += count


@dataclass(frozen=True)
class Pack:
    """Samples in one row of `total` tokens, `n` of them learned."""

    tokens: Tensor
    """[total]"""
    positions: Tensor
    """[total] position of each token in its own sample."""
    layout: Layout
    at: Tensor
    """[n] index in the row of the token whose state predicts the learned one."""
    targets: Tensor
    """[n] the learned tokens, sample by sample."""
    weights: Tensor
    """[n] float32, their loss weights."""
    owner: Tensor
    """[n] index of the sample that each belongs to."""
    ends: Tensor
    """[samples] index in the row of each sample's last token."""
    count: int
    """Tokens of all samples: a shared prompt counts as often as it is used."""


def pack(samples: Sequence[Sample], device: Any = None, *, share_prompts: bool = False) -> Pack:
    """Packs `samples`, none of them empty.

    With `share_prompts`, samples with equal `tokens[:prompt]` share these tokens, and the state of the last
    of them predicts the first token of each response.
    """
    shared, single = _groups(samples) if share_prompts else ([], list(range(len(samples))))
    segments = [(group, 0, samples[group[0]].prompt) for group in shared]
    segments += [([i], samples[i].prompt, len(samples[i].tokens)) for group in shared for i in group]
    segments += [([i], 0, len(samples[i].tokens)) for i in single]

    tokens: list[int] = []
    positions: list[int] = []
    spans: list[list[tuple[int, int]]] = [[] for _ in samples]
    for owners, start, stop in segments:
        for owner in owners:
            spans[owner].append((len(tokens), len(tokens) + stop - start))
        tokens += samples[owners[0]].tokens[start:stop]
        positions += range(start, stop)

    # Sample by sample from here on, no longer in the order of the row.
    row = torch.tensor(tokens)
    lengths = torch.tensor([len(sample.tokens) for sample in samples])
    places = torch.tensor([at for pieces in spans for piece in pieces for at in range(*piece)])
    weights = torch.tensor([w for sample in samples for w in sample.weights], dtype=torch.float32)
    ends = lengths.cumsum(0) - 1
    weights[ends - lengths + 1] = 0.0
    learned = weights.nonzero()[:, 0]
    owner_of = torch.repeat_interleave(torch.arange(len(samples)), lengths)
    return Pack(
        tokens=row.to(device),
        positions=torch.tensor(positions, device=device),
        layout=Layout([stop - start for _, start, stop in segments], [len(group) for group in shared], spans),
        at=places[learned - 1].to(device),
        targets=row[places[learned]].to(device),
        weights=weights[learned].to(device),
        owner=owner_of[learned].to(device),
        ends=places[ends].to(device),
        count=len(places),
    )


def _groups(samples: Sequence[Sample]) -> tuple[list[list[int]], list[int]]:
    """(groups of samples with the same prompt and a response after it, the other samples)."""
    groups: dict[tuple[int, ...], list[int]] = {}
    single = []
    for i, sample in enumerate(samples):
        if 0 < sample.prompt < len(sample.tokens):
            groups.setdefault(tuple(sample.tokens[: sample.prompt]), []).append(i)
        else:
            single.append(i)
    single += [group[0] for group in groups.values() if len(group) == 1]
    return [group for group in groups.values() if len(group) > 1], single


def share_prompts(groups: Sequence[Sequence[int]], samples: Sequence[Sample], budget: int) -> list[list[int]]:
    """Micro-batches of at most `budget` tokens, of groups of samples with one prompt each; as indices.

    A shared prompt counts once. A sample that is longer than the budget is a micro-batch of its own.
    """
    # Samples of one group share a micro-batch, and so their prompt, as far as the budget allows.
    parts: list[list[int]] = []
    sizes: list[int] = []
    for group in groups:
        room = 0
        for i in group:
            own = len(samples[i].tokens) - samples[i].prompt
            if room < own:
                parts.append([])
                sizes.append(samples[i].prompt)
                room = budget - samples[i].prompt
            parts[-1].append(i)
            sizes[-1] += own
            room -= own
    return [[i for part in chosen for i in parts[part]] for chosen in micro_batches(sizes, budget)]


def micro_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices of `lengths` in groups of at most `budget` tokens, of similar lengths and about equal totals.

    As few groups as possible, shortest samples first. A sample longer than the budget is a group of its own.
    """
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])

    def cut(most: int) -> list[list[int]]:
        groups: list[list[int]] = []
        total = 0
        for i in order:
            if not groups or total + lengths[i] > most:
                groups.append([])
                total = 0
            groups[-1].append(i)
            total += lengths[i]
        return groups

    fewest = len(cut(budget))
    # The smallest limit that needs no more groups than the budget does.
    low, high = 0, budget
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if len(cut(middle)) == fewest else (middle + 1, high)
    return cut(high)
