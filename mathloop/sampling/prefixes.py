"""Prompts that a model has read: each is read once for all its samples, and remembered for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch

from mathloop.models.packing import common_prefix
from mathloop.sampling.reading import SHARED_TOKENS, new_cache, read_prompts, window_slides
from mathloop.sampling.shared_cache import Prefix

PREFIX_TOKENS = 8_192
"""Tokens of prompts that are remembered after their last sequence has begun."""


class Prefixes:
    """The prompts that were used last."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._read: OrderedDict[tuple[int, ...], Prefix] = OrderedDict()
        self.newest: Prefix | None = None
        """The one read last; it has the shapes of all."""

    def __contains__(self, prompt: tuple[int, ...]) -> bool:
        return prompt in self._read

    def take(self, prompt: tuple[int, ...]) -> Prefix:
        """One that is there."""
        self._read.move_to_end(prompt)
        return self._read[prompt]

    def forget(self) -> None:
        """The oldest ones, beyond a bound: those of sequences that wait may have to be read again."""
        total = sum(map(len, self._read))
        while total > PREFIX_TOKENS:
            prompt, _ = self._read.popitem(last=False)
            total -= len(prompt)

    def clear(self) -> None:
        """Forgets all."""
        self._read.clear()

    def read(self, prompts: Sequence[tuple[int, ...]]) -> None:
        """Reads prompts in one batch; not again what a remembered one begins with as all of them do."""
        if not prompts:
            return
        width = max(map(len, prompts))
        cache = new_cache(self._model, width)
        known, begun = self._beginning(prompts)
        if known is not None:
            for layer, keys, values in zip(cache.layers, known.keys, known.values, strict=True):
                layer.update(keys[None, :, :begun], values[None, :, :begun])
        read = read_prompts(self._model, prompts, cache, width, begun)
        # All keys in one tensor and all values: a prompt takes two copies. A view would keep the batch.
        keys = torch.stack([one.keys for one in cache.layers])
        values = torch.stack([one.values for one in cache.layers])
        for row, prompt in enumerate(prompts):
            rest = width - len(prompt) + read.shared
            own_keys, own_values = (
                list(torch.cat([states[:, row, :, : read.shared], states[:, row, :, rest:]], 2).unbind())
                for states in (keys, values)
            )
            self.newest = Prefix(own_keys, own_values, read.logits[row].clone())
            self._read[prompt] = self.newest

    def _beginning(self, prompts: Sequence[tuple[int, ...]]) -> tuple[Prefix | None, int]:
        """The remembered prompt that all of these begin like for longest, such as one with the same examples.

        With the number of tokens, which is 0 if there are too few.
        """
        start = prompts[0][: common_prefix(prompts)]
        if len(start) < SHARED_TOKENS or window_slides(self._model, max(map(len, prompts))):
            return None, 0
        alike = {known: _alike(start, known) for known in self._read}
        best = max(alike, key=alike.__getitem__, default=())
        if alike.get(best, 0) < SHARED_TOKENS:
            return None, 0
        self._read.move_to_end(best)
        return self._read[best], alike[best]


def _alike(one: tuple[int, ...], other: tuple[int, ...]) -> int:
    """Tokens that both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (ours, theirs) in pairs if ours != theirs), min(len(one), len(other)))
