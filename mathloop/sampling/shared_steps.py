"""Steps of sequences that share a cache: through any model, or through plain layers, written out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from mathloop.sampling.token_steps import PlainLayer, norm_of, product_of

Step = Callable[[Tensor, Tensor, Tensor, Cache], Tensor]
"""Tokens and positions [rows], mask [rows, columns], and the cache, whose layers take one more token of each
row → logits [rows, vocabulary]."""


def model_step(model: Any) -> Step:
    """Calls the model, whatever its layers are."""

    def step(tokens: Tensor, positions: Tensor, mask: Tensor, cache: Cache) -> Tensor:
        if not getattr(model.config, "sliding_window", None):
            mask = mask[:, None, None]  # transformers would build it anew from two dimensions
        logits: Tensor = model(
            input_ids=tokens[:, None],
            attention_mask=mask,
            position_ids=positions[:, None],
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
        return logits

    return step


class PlainStep:
    """The same for a model that `has_plain_layers`, in float32: much less work outside of matrix products."""

    def __init__(self, model: Any, rows: int) -> None:
        """Packs the weights, which must not change from now on, for about this many rows."""
        backbone = model.base_model
        self._embed, self._rotate = backbone.embed_tokens, backbone.rotary_emb
        self._layers = [PlainLayer(layer, rows, torch.float32) for layer in backbone.layers]
        self._norm = norm_of(backbone.norm, torch.float32)
        self._head = product_of([model.get_output_embeddings()], rows, torch.float32)

    def __call__(self, tokens: Tensor, positions: Tensor, mask: Tensor, cache: Cache) -> Tensor:
        hidden = ~mask[:, None, None]
        states = self._embed(tokens)
        cos, sin = self._rotate(states[:, None], positions[:, None])
        for layer, kept in zip(self._layers, cache.layers, strict=True):
            layer.step(states, cos, sin, partial(_attend, kept, hidden))
        return self._head(self._norm(states))


def _attend(kept: Any, hidden: Tensor, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    keys, values = kept.update(key[:, :, None], value[:, :, None])
    scores = torch.matmul(query, keys.transpose(2, 3)).masked_fill_(hidden, -torch.inf)
    return torch.matmul(scores.softmax(-1), values)
