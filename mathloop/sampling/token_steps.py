"""One new token per sequence through the plain layers of Llama, Mistral and Qwen2, on a CPU.

transformers' modules spend most of such a step outside of matrix products: on Python, and on many small
operations. Here a layer is two dozen of them, its products are of packed weights, with those of query, key
and value in one and the MLP's first two in another, and the samples of a prompt read its keys and values
together. The results are the model's own, up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.cache_utils import Cache

from mathloop.models.norm import is_plain_norm
from mathloop.models.rotary import turn
from mathloop.sampling.operators import PACKED_BYTES, PACKED_FROM
from mathloop.sampling.reading import Read

FAMILIES = frozenset({"llama", "mistral", "qwen2"})
"""Model types whose layers are two RMS norms, attention with rotated queries and keys, and a SwiGLU."""

Product = Callable[[Tensor], Tensor]
"""[batch, in] → [batch, out], both in the dtype of the computation."""
Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Scaled query [batch, key heads, group, width], key and value [batch, key heads, width] → like the query."""


class TokenSteps:
    """Steps of a batch of sequences, which begin after prompts that a cache holds; a prompt is in it once.

    Weights are packed, and must not change meanwhile. Products are in autocast's dtype where it is enabled,
    and all else is in float32, keys and values included: a policy that is trained in bfloat16 so draws as its
    trainer computes.
    """

    def __init__(self, model: Any, cache: Cache, read: Read, samples: int, most: int) -> None:
        """`model` is one that `has_plain_layers`; `cache` holds its prompts in float32.

        `samples` sequences follow each of them, of up to `most` tokens.
        """
        backbone, self._dtype = model.base_model, compute_dtype()
        prompts, width = read.mask.shape[0], cache.get_seq_length()
        self.batch = prompts * samples
        self._embed, self._rotate = backbone.embed_tokens, backbone.rotary_emb
        self._layers = [
            _Layer(layer, slab, self.batch, most, self._dtype)
            for layer, slab in zip(backbone.layers, cache.layers, strict=True)
        ]
        self._norm = norm_of(backbone.norm, self._dtype)
        self._head = product_of([model.get_output_embeddings()], self.batch, self._dtype)
        self._positions = read.positions.repeat_interleave(samples, 0)
        padding = read.mask[:, None, None, :width] == 0
        self.padding = padding.repeat_interleave(samples, 0) if bool(padding.any()) else None
        """[batch, 1, 1, columns] where a sequence's prompt has padding; None if none has."""
        self._slots = prompts, samples
        self._places: Tensor | None = None
        """Place of each sequence in [prompts, samples]; None while all are there."""

    def logits(self, tokens: Tensor) -> Tensor:
        """Logits [batch, vocabulary] after one more token [batch] of each sequence."""
        self._positions = self._positions + 1
        with torch.autocast("cpu", enabled=False):
            states = self._embed(tokens)
            cos, sin = self._rotate(states[:, None], self._positions)
            for layer in self._layers:
                layer.step(states, cos, sin, partial(layer.attend, self))
            return self._head(self._norm(states))

    def keep(self, rows: Tensor) -> None:
        """Ends all sequences but `rows`, in that order."""
        places = torch.arange(self.batch) if self._places is None else self._places
        self._places, self.batch = places[rows], len(rows)
        self._positions = self._positions[rows]
        if self.padding is not None:
            self.padding = self.padding[rows]
        for layer in self._layers:
            layer.keep(rows)

    def by_prompt(self, query: Tensor) -> Tensor:
        """[batch, key heads, group, width] → [prompts, key heads, samples · group, width], empty places 0."""
        if self._places is not None:
            whole = query.new_zeros(self._slots[0] * self._slots[1], *query.shape[1:])
            whole[self._places] = query
            query = whole
        return query.view(*self._slots, *query.shape[1:]).transpose(1, 2).flatten(2, 3)

    def by_sequence(self, rows: Tensor) -> Tensor:
        """[prompts, key heads, samples · group, …] → [batch, key heads, group, …]."""
        prompts, samples = self._slots
        rows = rows.view(prompts, rows.shape[1], samples, -1, rows.shape[-1]).transpose(1, 2).flatten(0, 1)
        return rows if self._places is None else rows[self._places]


def compute_dtype() -> torch.dtype:
    """The dtype of products on a CPU, for float32 weights."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else torch.float32


def has_plain_layers(model: Any) -> bool:
    """Whether `TokenSteps` computes what `model` does: its own layers, whole, in float32, on a CPU."""
    config: Any = getattr(model, "config", None)
    if getattr(config, "model_type", None) not in FAMILIES or getattr(config, "hidden_act", None) != "silu":
        return False
    if config._attn_implementation != "sdpa" or getattr(config, "sliding_window", None):
        return False
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    backbone, head = model.base_model, model.get_output_embeddings()
    if head is None or any(_is_hooked(module) for module in model.modules()):
        return False
    linear = [head]
    norms = [backbone.norm]
    for layer in backbone.layers:
        attention, mlp = layer.self_attn, layer.mlp
        linear += [attention.q_proj, attention.k_proj, attention.v_proj, attention.o_proj]
        linear += [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
        norms += [layer.input_layernorm, layer.post_attention_layernorm]
    weights = [module.weight for module in (*linear, *norms, backbone.embed_tokens)]
    return (
        all(type(module) is nn.Linear and "forward" not in module.__dict__ for module in linear)
        and all(is_plain_norm(module) for module in norms)
        and type(backbone.embed_tokens) is nn.Embedding
        # ZeRO-3 leaves nothing in a weight that is not gathered.
        and all(w.device.type == "cpu" and w.dtype == torch.float32 and w.numel() for w in weights)
        and sum(module.weight.numel() for module in linear) * compute_dtype().itemsize <= PACKED_BYTES
    )


def _is_hooked(module: nn.Module) -> bool:
    """Whether something runs beside the module's forward, such as a probe's hook."""
    return bool(module._forward_hooks or module._forward_pre_hooks)


class PlainLayer:
    """The products and norms of one layer, with packed weights."""

    def __init__(self, layer: Any, rows: int, dtype: torch.dtype) -> None:
        """For about this many rows at a time; `dtype` is that of the products."""
        attention, mlp = layer.self_attn, layer.mlp
        self._dtype, self._width, self._scale = dtype, attention.head_dim, attention.scaling
        self._heads = attention.q_proj.out_features // self._width
        self._key_heads = attention.k_proj.out_features // self._width
        self._before, self._between = (
            norm_of(norm, dtype) for norm in (layer.input_layernorm, layer.post_attention_layernorm)
        )
        pack = partial(product_of, rows=rows, dtype=dtype)
        self._read = pack([attention.q_proj, attention.k_proj, attention.v_proj])
        self._write = pack([attention.o_proj])
        self._open, self._close = pack([mlp.gate_proj, mlp.up_proj]), pack([mlp.down_proj])

    def step(self, states: Tensor, cos: Tensor, sin: Tensor, attend: Attend) -> None:
        """Adds the layer's outputs to `states` [batch, hidden], in place."""
        read = self._read(self._before(states))  # query, key and value beside each other
        batch, rotated = len(read), self._heads + self._key_heads
        heads = read.view(batch, -1, self._width)
        turned = turn(heads[:, :rotated], cos, sin)
        if self._dtype != torch.float32:  # as what attention is given in training
            turned = turned.to(self._dtype).float()
        query = turned[:, : self._heads].view(batch, self._key_heads, -1, self._width) * self._scale
        mixed = attend(query, turned[:, self._heads :], heads[:, rotated:])
        states += self._write(mixed.view(batch, -1).to(self._dtype))
        gate, up = self._open(self._between(states)).chunk(2, -1)
        states += self._close(functional.silu(gate).mul_(up))


class _Layer(PlainLayer):
    def __init__(self, layer: Any, prompts: Any, batch: int, most: int, dtype: torch.dtype) -> None:
        """`prompts`: their slab."""
        super().__init__(layer, batch, dtype)
        self._prompt_keys = prompts.keys[:, :, : prompts.length].transpose(2, 3)
        self._prompt_values = prompts.values[:, :, : prompts.length]
        self._keys = self._prompt_keys.new_empty(batch, self._key_heads, most, self._width)
        self._values = torch.empty_like(self._keys)
        self._length = 0

    def keep(self, rows: Tensor) -> None:
        """Ends all sequences but `rows`."""
        self._keys, self._values = self._kept(self._keys, rows), self._kept(self._values, rows)

    def _kept(self, states: Tensor, rows: Tensor) -> Tensor:
        """Without a copy of columns that are not in use, which have no memory yet."""
        kept = states.new_empty(len(rows), *states.shape[1:])
        kept[:, :, : self._length] = states[:, :, : self._length][rows]
        return kept

    def attend(self, steps: TokenSteps, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """To the prompts' keys and values, and to the sequences' own."""
        at, self._length = self._length, self._length + 1
        self._keys[:, :, at], self._values[:, :, at] = key, value
        before = steps.by_sequence(torch.matmul(steps.by_prompt(query), self._prompt_keys))
        if steps.padding is not None:
            before = before.masked_fill(steps.padding, -torch.inf)
        own = torch.matmul(query, self._keys[:, :, : at + 1].transpose(2, 3))
        shares = torch.cat([before, own], -1).softmax(-1)
        before, own = shares[..., : -at - 1], shares[..., -at - 1 :]
        mixed = steps.by_sequence(torch.matmul(steps.by_prompt(before), self._prompt_values))
        return torch.matmul(own, self._values[:, :, : at + 1]).add_(mixed)


def norm_of(module: Any, dtype: torch.dtype) -> Callable[[Tensor], Tensor]:
    """What a plain RMS norm computes, in `dtype`."""
    weight, epsilon = module.weight.detach(), module.variance_epsilon

    def norm(states: Tensor) -> Tensor:
        return functional.rms_norm(states, weight.shape, weight, epsilon).to(dtype)

    return norm


def product_of(modules: list[Any], rows: int, dtype: torch.dtype) -> Product:
    """The products of linear layers with one input, beside each other."""
    weight = modules[0].weight.detach().to(dtype)
    bias = None if modules[0].bias is None else modules[0].bias.detach().to(dtype)
    if len(modules) > 1:
        weight = torch.cat([module.weight.detach().to(dtype) for module in modules])
        biases = [
            module.weight.new_zeros(module.out_features) if module.bias is None else module.bias
            for module in modules
        ]
        if any(module.bias is not None for module in modules):
            bias = torch.cat([each.detach().to(dtype) for each in biases])
    if dtype == torch.float32 and weight.numel() < PACKED_FROM:
        return lambda states: functional.linear(states, weight, bias)
    packed = torch.ops.mkldnn._reorder_linear_weight(weight, rows)
    return lambda states: torch.ops.mkldnn._linear_pointwise(states, packed, bias, "none", [], "")
