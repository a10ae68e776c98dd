"""Keys and values of sequences that are decoded together and begin and end at different times.

All rows write their next token in one column, whatever the length of each: the mask tells what a row has
written, and positions are the row's own. A row that joins puts its prompt into the columns before. Rows that
have left are filled again, or leave with a rebuilt cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers.cache_utils import Cache, CacheLayerMixin

from mathloop.sampling.shared_steps import Step

SPARE = 128
"""Columns for further tokens in a rebuilt cache, at least; else as many as are in use."""
SPARE_PART = 8
"""An eighth more rows than are in use is kept where sequences join others: more will join."""


class Prefix(NamedTuple):
    """A prompt that the model has read."""

    keys: list[Tensor]
    """Per layer, [heads, seq, width]."""
    values: list[Tensor]
    logits: Tensor
    """[vocabulary], of the token after it."""

    @property
    def length(self) -> int:
        return int(self.keys[0].shape[1])


class _Layer(CacheLayerMixin):  # type: ignore[misc]
    """One layer: [rows, heads, columns, width]; on a CPU keys are laid out as a query reads them."""

    def __init__(self, owner: SharedCache, like: Tensor, values: Tensor) -> None:
        """`like` and `values`: a prompt's keys and values, for their shapes, which may differ."""
        super().__init__()
        self._owner = owner
        heads, _, width = like.shape
        rows, columns = owner.capacity, owner.columns
        # Zeros: what a mask leaves out must still be finite.
        if like.device.type == "cpu":
            self.keys = like.new_zeros(rows, heads, width, columns).transpose(2, 3)
        else:
            self.keys = like.new_zeros(rows, heads, columns, width)
        self.values = values.new_zeros(rows, values.shape[0], columns, values.shape[2])
        self.is_initialized = True

    def lazy_initialization(self, key_states: Tensor, value_states: Tensor) -> None:
        """Nothing: it is there from the start."""

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        rows, begin, end = self._owner.rows, self._owner.begin, self._owner.end
        self.keys[:rows, :, end : end + 1] = key_states
        self.values[:rows, :, end : end + 1] = value_states
        return self.keys[:rows, :, begin : end + 1], self.values[:rows, :, begin : end + 1]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._owner.end - self._owner.begin + query_length, 0

    def get_seq_length(self) -> int:
        return self._owner.end - self._owner.begin

    def get_max_length(self) -> int:
        return self._owner.columns


class SharedCache:
    """The cache of some rows; `begin` to `end` are the columns in use, and the next token goes to `end`."""

    def __init__(self) -> None:
        self.rows = self.capacity = self.columns = self.begin = self.end = 0
        self.cache: Cache | None = None
        self.mask = torch.zeros(0, 0, dtype=torch.bool)
        """[capacity, columns]: which ones hold a row's own tokens."""
        self._first: list[int] = []
        """Column of each row's first token."""

    def room_for(self, prompt: int) -> bool:
        """Whether a prompt of so many tokens can join, and a token after it, without a rebuilt cache."""
        return prompt <= self.end < self.columns

    def grow(self, more: int) -> bool:
        """Takes this many rows into use, which are empty; False if there are too few."""
        if self.rows + more > self.capacity:
            return False
        self.rows += more
        self._first += [self.end] * more
        return True

    def rebuild(self, keep: Sequence[int], more: int, prompt: int, prefix: Prefix, spare: int) -> None:
        """Keeps some rows, in that order, and adds empty ones at the end.

        Args:
            more: number of empty rows.
            prompt: tokens of the longest prompt that will join.
            prefix: any, for the shapes.
            spare: tokens still to be written, at most.
        """
        old, begin = self.cache, min((self._first[row] for row in keep), default=self.end)
        used, mask = self.end - begin, self.mask
        end = max(used, prompt)
        self.rows = self.capacity = len(keep) + more
        if keep and more:
            self.capacity += self.rows // SPARE_PART
        self.columns = end + max(1, min(spare, max(SPARE, end)))
        first = [self._first[row] - begin + end - used for row in keep]
        span = slice(begin, self.end)
        self.begin, self.end = min(first, default=end), end
        self._first = [*first, *([end] * more)]
        self.mask = torch.zeros(self.capacity, self.columns, dtype=torch.bool, device=prefix.logits.device)
        layers = [_Layer(self, *each) for each in zip(prefix.keys, prefix.values, strict=True)]
        if keep and old is not None:
            rows = torch.tensor(keep, device=prefix.logits.device)
            self.mask[: len(keep), end - used : end] = mask[rows, span]
            for new, layer in zip(layers, old.layers, strict=True):
                new.keys[: len(keep), :, end - used : end] = layer.keys[rows, :, span]
                new.values[: len(keep), :, end - used : end] = layer.values[rows, :, span]
        self.cache = Cache(layers=layers)

    def join(self, rows: Sequence[int], prefixes: Sequence[Prefix]) -> None:
        """Puts a prompt of one length into each row, whose tokens follow from the next column on."""
        assert self.cache is not None
        first = self.end - prefixes[0].length
        index = torch.tensor(rows, device=self.mask.device)
        self.mask[index] = False
        self.mask[index, first : self.end] = True
        for number, layer in enumerate(self.cache.layers):
            layer.values[index, :, self.begin : first] = 0
            layer.keys[index, :, first : self.end] = torch.stack([each.keys[number] for each in prefixes])
            layer.values[index, :, first : self.end] = torch.stack([each.values[number] for each in prefixes])
        for row in rows:
            self._first[row] = first
        self.begin = min(self.begin, first)

    def step(
        self, step: Step, tokens: Sequence[int], positions: Sequence[int], seeing: Sequence[int] | None
    ) -> Tensor:
        """Logits [rows, vocabulary] after one more token of all rows, which only those of `seeing` keep."""
        device = self.mask.device
        if seeing is None:
            self.mask[: self.rows, self.end] = True
        else:
            self.mask[torch.tensor(seeing, device=device), self.end] = True
        assert self.cache is not None
        logits = step(
            torch.tensor(tokens, device=device),
            torch.tensor(positions, device=device),
            self.mask[: self.rows, self.begin : self.end + 1],
            self.cache,
        )
        self.end += 1
        return logits

    def release(self, live: Sequence[int]) -> None:
        """Only these rows are still needed: columns before their prompts are not read any more."""
        self.begin = min((self._first[row] for row in live), default=self.end)
