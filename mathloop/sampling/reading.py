"""Prompts that a model reads in one batch: what all of them begin with once, then the rest of each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers.cache_utils import Cache, CacheLayerMixin

from mathloop.models.packing import common_prefix

SHARED_TOKENS = 32
"""Tokens that prompts must begin with alike, at least, to be read by themselves first."""


class Slab(CacheLayerMixin):  # type: ignore[misc]
    """Keys and values of one layer, written in place: [batch, heads, capacity, width].

    On a CPU keys are laid out as [batch, heads, width, capacity], the order in which a query reads them.
    """

    def __init__(self, capacity: int, dtype: torch.dtype | None = None) -> None:
        """`dtype`: of keys and values; None: that of the first ones."""
        super().__init__()
        self.capacity, self.length, self._kept = capacity, 0, dtype

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        batch, heads, _, width = key_states.shape
        capacity, kept = self.capacity, self._kept
        if key_states.device.type == "cpu":
            self.keys = key_states.new_empty(batch, heads, width, capacity, dtype=kept).transpose(2, 3)
        else:
            self.keys = key_states.new_empty(batch, heads, capacity, width, dtype=kept)
        self.values = value_states.new_empty(batch, heads, capacity, value_states.shape[-1], dtype=kept)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        begin, self.length = self.length, self.length + key_states.shape[2]
        self.keys[:, :, begin : self.length] = key_states
        self.values[:, :, begin : self.length] = value_states
        if begin == 0:
            return key_states, value_states
        return self.keys[:, :, : self.length], self.values[:, :, : self.length]

    def select(self, rows: torch.Tensor) -> None:
        """Keeps `rows` of the batch, in that order; a row may be repeated."""
        old = self.keys[:, :, : self.length], self.values[:, :, : self.length]
        self.lazy_initialization(*(states[:1].expand(len(rows), -1, -1, -1) for states in old))
        for new, states in zip((self.keys, self.values), old, strict=True):
            new[:, :, : self.length] = states[rows]

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self.length + query_length, 0

    def get_seq_length(self) -> int:
        return self.length

    def get_max_length(self) -> int:
        return self.capacity


class Read(NamedTuple):
    """What a batch of prompts left, next to the cache."""

    logits: torch.Tensor
    """[prompts, vocabulary], after each prompt."""
    mask: torch.Tensor
    """[prompts, columns] of the cache, with ones after the prompts."""
    positions: torch.Tensor
    """[prompts, 1], of each prompt's last token."""
    shared: int
    """Columns that all prompts begin with, before any padding."""


def new_cache(model: Any, capacity: int, dtype: torch.dtype | None = None) -> Cache:
    """An empty cache of slabs; `dtype`: of keys and values, the model's if None."""
    return Cache(layers=[Slab(capacity, dtype) for _ in range(model.config.num_hidden_layers)])


def select(cache: Cache, rows: torch.Tensor) -> None:
    """Keeps `rows` of the batch in every layer, in that order; a row may be repeated."""
    for layer in cache.layers:
        layer.select(rows)


def window_slides(model: Any, width: int) -> bool:
    """Whether prompts so wide must be read whole: padding after what they share would be in the window."""
    window = getattr(model.config, "sliding_window", None)
    return bool(window and width > window)


def read_prompts(
    model: Any,
    prompts: Sequence[Sequence[int]],
    cache: Cache,
    columns: int,
    begun: int = 0,
    *,
    plain: bool = False,
) -> Read:
    """Fills the cache with the prompts: what all of them begin with, padding, the rest of each.

    Args:
        columns: of the mask.
        begun: tokens that all of them begin with, one less than the shortest has at most, and that the cache
            has already, in a single row.
        plain: the model's logits are its head's products with its backbone's states, and nothing more.
    """
    device = next(model.parameters()).device
    width = max(map(len, prompts))
    shared = common_prefix(prompts) if len(prompts) > 1 else begun
    if shared - begun < SHARED_TOKENS or window_slides(model, width):
        shared = begun
    ids = torch.zeros(len(prompts), width, dtype=torch.long)
    mask = torch.zeros(len(prompts), columns, dtype=torch.long)
    mask[:, :shared] = mask[:, width:] = 1
    for row, prompt in enumerate(prompts):
        rest = prompt[shared:]
        ids[row, width - len(rest) :] = torch.tensor(rest)
        mask[row, width - len(rest) :] = 1
    mask = mask.to(device)
    if shared > begun:
        beginning = torch.tensor([prompts[0][begun:shared]], device=device)
        model(input_ids=beginning, past_key_values=cache, use_cache=True, logits_to_keep=1)
    if shared and len(prompts) > 1:
        select(cache, torch.zeros(len(prompts), dtype=torch.long, device=device))
    positions = (mask[:, :width].cumsum(1) - 1).clamp(min=0)
    given = {
        "input_ids": ids[:, shared:].to(device),
        "attention_mask": mask[:, :width],
        "position_ids": positions[:, shared:],
        "past_key_values": cache,
        "use_cache": True,
    }
    if plain:
        # A slice of states [prompts, 1, hidden] would have PyTorch copy the head's weights for each prompt.
        states = model.base_model(**given).last_hidden_state[:, -1]
        logits = model.get_output_embeddings()(states.contiguous())
    else:
        logits = model(**given, logits_to_keep=1).logits[:, -1]
    return Read(logits, mask, positions[:, -1:], shared)
