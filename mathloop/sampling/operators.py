"""Operators that decoding puts into a transformers model for the time of one batch.

Decoding multiplies narrow matrices, one new token per sequence. On a CPU a large linear layer then waits for
weights in an unsuitable layout, and attention with grouped heads copies the whole cache once per query head.
The results are the model's own, up to rounding.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mathloop.models.dtypes import fast_bfloat16

GROUPED = "mathloop_grouped"
"""The attention's name at transformers."""
PACKED_FROM = 1 << 19
"""Numbers in a float32 weight that is packed, at least. Each call of oneDNN costs some 25 µs more than
PyTorch's own (torch 2.13, AVX2), which is most of a small layer: packed, a step of the laptop profile's model
took half as long again for one sequence, a third for 40 and a sixth for 160."""
PACKED_BYTES = 4 << 30
"""Weights are packed in a copy; a model with more of them is decoded without."""


@contextmanager
def decoding_operators(model: Any, rows: int) -> Iterator[None]:
    """Inside, `model` decodes about `rows` sequences faster; its weights must not change meanwhile."""
    config = model.config
    stock = getattr(config, "_attn_implementation", None)
    linear = _linear_layers(model)
    try:
        if stock == "sdpa":
            config._attn_implementation = GROUPED
        for layer in linear:
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), rows)
            layer.forward = partial(_packed_linear, packed, layer.bias)
        yield
    finally:
        for layer in linear:
            layer.__dict__.pop("forward", None)
        if stock == "sdpa":
            config._attn_implementation = stock


def _linear_layers(model: Any) -> list[Any]:
    """Layers whose weights oneDNN can pack: on a CPU, of a type that it multiplies, few enough to copy.

    Small ones are worth it only in bfloat16, which PyTorch's own would pack at every call.
    """
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    # Autocast would mix the types of inputs and packed weights.
    if not available or torch.is_autocast_enabled("cpu"):
        return []
    types = {torch.float32}
    if fast_bfloat16("cpu"):
        types.add(torch.bfloat16)
    found = [
        layer
        for layer in model.modules()
        # Neither a subclass nor a layer whose forward was replaced: these compute something else.
        if type(layer) is nn.Linear and "forward" not in layer.__dict__
        # ZeRO-3 leaves nothing in a weight that is not gathered.
        if layer.weight.device.type == "cpu" and layer.weight.dtype in types and layer.weight.numel()
        if layer.weight.dtype != torch.float32 or layer.weight.numel() >= PACKED_FROM
    ]
    return found if sum(layer.weight.nbytes for layer in found) <= PACKED_BYTES else []


def _packed_linear(weight: Tensor, bias: Tensor | None, states: Tensor) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise(states, weight, bias, "none", [], "")  # type: ignore[no-any-return]


def _grouped_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **options: Any,
) -> tuple[Tensor, None]:
    """Attention of query [batch, heads, new, width] to key and value [batch, key heads, seq, width].

    Query heads that share a key head become its queries: one token needs no causal mask among them. Returns
    [batch, new, heads, width].
    """
    batch, heads, new, width = query.shape
    groups = heads // key.shape[1]
    alike = attention_mask is None or attention_mask.shape[1] == 1  # and no bias of each head's own
    if new > 1 or not alike or options.get("position_bias") is not None:
        return sdpa_attention_forward(  # type: ignore[no-any-return]
            module, query, key, value, attention_mask, scaling=scaling, **options
        )
    grouped = query.reshape(batch, -1, groups, width)
    if query.device.type == "cpu":
        scale = width**-0.5 if scaling is None else scaling
        scores = torch.matmul(grouped * scale, key.transpose(2, 3))
        if attention_mask is not None:
            scores = scores.masked_fill(~attention_mask, -torch.inf)
        states = torch.matmul(scores.softmax(-1), value)
    else:
        states = nn.functional.scaled_dot_product_attention(
            grouped, key, value, attention_mask, scale=scaling
        )
    return states.reshape(batch, 1, heads, -1), None


AttentionInterface.register(GROUPED, _grouped_attention)
AttentionMaskInterface.register(GROUPED, sdpa_mask)
