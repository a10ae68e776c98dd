"""Steps through transformers' own cache, for models that ours do not fit.

Most of them have layers with a state: Mamba's, gated linear attention, short convolutions. Every prompt is
read whole, and the cache grows by copies, which is slower.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

import torch
from transformers.cache_utils import DynamicCache

from mathloop.errors import BadModel
from mathloop.models.logits import TESTED, differ
from mathloop.sampling.operators import decoding_operators
from mathloop.sampling.reading import new_cache, read_prompts, select

STATEFUL = frozenset({"falcon_h1", "lfm2", "qwen3_5_text", "qwen3_next"})
"""Tested model types of which some layers keep a state."""
_FOUND: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Untested model → whether it decodes with our caches."""


class OwnCacheSteps:
    """Steps of `samples` sequences after each prompt."""

    def __init__(self, model: Any, prompts: Sequence[Sequence[int]], samples: int) -> None:
        """Reads the prompts; `first` are the logits [prompts, vocabulary] after them."""
        self._model, self._cache = model, DynamicCache(config=model.config)
        self._takes = inspect.signature(model.forward).parameters
        width = max(map(len, prompts))
        tokens = torch.tensor([[0] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        self._mask = mask.to(model.device)
        self.first = self._logits(tokens.to(model.device), (self._mask.cumsum(1) - 1).clamp(min=0))
        self._positions = self._mask.sum(1, keepdim=True) - 1
        if samples > 1:
            self.keep(torch.arange(len(prompts), device=model.device).repeat_interleave(samples))

    def logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits [batch, vocabulary] after one more token [batch] of each sequence."""
        self._mask = torch.cat([self._mask, self._mask.new_ones(len(tokens), 1)], 1)
        self._positions = self._positions + 1
        return self._logits(tokens[:, None], self._positions)

    def keep(self, rows: torch.Tensor) -> None:
        """Ends all sequences but `rows`, in that order; a row may be repeated."""
        self._cache.reorder_cache(rows)
        self._mask, self._positions = self._mask[rows], self._positions[rows]

    def _logits(self, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        optional = {"position_ids": positions, "logits_to_keep": 1}
        logits: torch.Tensor = self._model(
            input_ids=tokens,
            attention_mask=self._mask,
            past_key_values=self._cache,
            use_cache=True,
            **{name: value for name, value in optional.items() if name in self._takes},
        ).logits[:, -1]
        return logits


def shares_caches(model: Any) -> bool:
    """Whether the model decodes with our caches, which hold keys and values of each layer.

    An untested model is tried with two prompts of different lengths, once. Raises BadModel if neither our
    caches nor transformers' own give what it computes without one.
    """
    kind = model.config.model_type
    if kind in TESTED:
        return kind not in STATEFUL
    if model not in _FOUND:
        _FOUND[model] = _try(model)
    return _FOUND[model]


@torch.no_grad()
def _try(model: Any) -> bool:
    count = len(model.get_input_embeddings().weight)
    prompts = [[(at * at + 3) % count for at in range(length)] for length in (9, 4)]
    last = [[7 % count], [11 % count]]
    pairs = zip(prompts, last, strict=True)
    texts = [torch.tensor([prompt + more], device=model.device) for prompt, more in pairs]
    exact = torch.stack([model(input_ids=text, use_cache=False).logits[0, -2:] for text in texts])
    for ours in (True, False):
        try:
            found = _with_ours(model, prompts, last) if ours else _with_its_own(model, prompts, last)
        except Exception:  # a model may refuse a cache in any way
            continue
        if not differ(found, exact):
            return ours
    raise BadModel(
        f"model_type {model.config.model_type!r} does not decode here as it computes: sample with vLLM "
        "(sampling.engine: vllm, or serve --policy-url), or take a model of another family"
    )


def _with_ours(model: Any, prompts: list[list[int]], last: list[list[int]]) -> torch.Tensor:
    width = max(map(len, prompts))
    cache = new_cache(model, width + 1)
    read = read_prompts(model, prompts, cache, width + 1)
    twice = torch.tensor([0, 0, 1, 1], device=model.device)  # two samples of each
    select(cache, twice)
    with decoding_operators(model, len(twice)):
        logits = model(
            input_ids=torch.tensor(last, device=model.device)[twice],
            attention_mask=read.mask.bool()[twice, None, None],
            position_ids=read.positions[twice] + 1,
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
    return torch.stack([read.logits, logits[::2]], 1)


def _with_its_own(model: Any, prompts: list[list[int]], last: list[list[int]]) -> torch.Tensor:
    steps = OwnCacheSteps(model, prompts, 1)
    return torch.stack([steps.first, steps.logits(torch.tensor(last, device=model.device)[:, 0])], 1)
