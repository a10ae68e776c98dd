"""Prompts that a model has read: each is read once for all its samples, and remembered for a while."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

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
        """Reads prompts in one batch, padded on the left."""
        if not prompts:
            return
        device = next(self._model.parameters()).device
        width = max(map(len, prompts))
        ids = torch.zeros(len(prompts), width, dtype=torch.long)
        mask = torch.zeros(len(prompts), width, dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, width - len(prompt) :] = torch.tensor(prompt)
            mask[row, width - len(prompt) :] = 1
        ids, mask = ids.to(device), mask.to(device)
        cache = Cache(layers=[DynamicLayer() for _ in range(self._model.config.num_hidden_layers)])
        logits = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp(min=0),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        # One tensor of all layers, so that a prompt takes one copy; a view would keep all of the batch.
        states = torch.stack([*(each.keys for each in cache.layers), *(each.values for each in cache.layers)])
        for row, prompt in enumerate(prompts):
            copied = states[:, row, :, width - len(prompt) :].clone().unbind()
            half = len(copied) // 2
            self.newest = Prefix(list(copied[:half]), list(copied[half:]), logits[row].clone())
            self._read[prompt] = self.newest
