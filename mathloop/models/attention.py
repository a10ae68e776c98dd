"""A backbone's hidden states on a pack: every token attends only to its own sample.

Linear layers, norms and embeddings run on the packed row, without padding. Only attention knows where samples
start and end: a function registered with transformers, which is plain `sdpa` outside of packing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mathloop.models.cpu_attention import CPUPlan, edges_of
from mathloop.models.packing import Layout, Pack

FAMILIES = frozenset({"llama", "mistral", "olmo2", "qwen2", "qwen3", "smollm3"})
"""Model types with plain causal attention whose other layers treat every token alike."""
PACKED = "packed"
"""The name of this attention in transformers."""


def hidden_states(model: Any, pack: Pack) -> Tensor:
    """Last hidden states [total, hidden] of a causal model's backbone, or of a backbone, on `pack`.

    Models that `supports_packing` rejects, or that use an attention other than sdpa, run on padded rows,
    with the same results.
    """
    backbone = model.base_model
    chosen = backbone.config._attn_implementation
    if chosen not in (PACKED, "sdpa") or not supports_packing(model, pack):
        return _padded_states(backbone, pack)
    if chosen != PACKED:
        backbone.set_attn_implementation(PACKED)
    device = pack.tokens.device
    states = backbone(
        input_ids=pack.tokens[None],
        position_ids=pack.positions[None],
        # transformers passes a four-dimensional mask through unchanged, and our attention ignores it.
        attention_mask=torch.ones(1, 1, 1, 1, dtype=torch.bool, device=device),
        use_cache=False,
        plan=_GPUPlan.of(pack.layout, device)
        if device.type == "cuda"
        else CPUPlan.of(pack.layout, backbone.config.num_attention_heads),
    ).last_hidden_state
    return states[0]  # type: ignore[no-any-return]


def use_attention(module: nn.Module, name: str) -> None:
    """Sets the attention of every transformers model in `module`."""
    for part in module.modules():
        if isinstance(part, PreTrainedModel) and part.config._attn_implementation != name:
            part.set_attn_implementation(name)


def supports_packing(model: Any, pack: Pack) -> bool:
    """Whether the model can run on packed rows.

    It can if its attention is plain and causal, without a sliding window shorter than a sample. A GPU must
    support flash attention (Ampere and later) and compute in half precision.
    """
    config = model.config
    if config.model_type not in FAMILIES or config.attention_dropout:
        return False
    window = getattr(config, "sliding_window", None)
    if window and window < max(sum(stop - start for start, stop in spans) for spans in pack.layout.spans):
        return False
    device = pack.tokens.device
    if device.type != "cuda":
        return device.type == "cpu"
    dtype = torch.get_autocast_dtype("cuda") if torch.is_autocast_enabled("cuda") else model.dtype
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return (
        dtype in (torch.float16, torch.bfloat16)
        and head % 8 == 0
        and head <= 256
        and torch.cuda.get_device_capability(device) >= (8, 0)
    )


def _attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    plan: CPUPlan | _GPUPlan | None = None,
    **settings: Any,
) -> tuple[Tensor, Tensor | None]:
    """Called by transformers: query, key and value [1, heads, total, head] → [1, total, heads, head]."""
    if plan is None:
        plain: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, **settings
        )
        return plain
    q, k, v = (states[0].transpose(0, 1).to(value.dtype) for states in (query, key, value))  # autocast
    return plan.attend(q, k, v, settings["scaling"])[None].to(value.dtype), None


AttentionInterface.register(PACKED, _attention)
AttentionMaskInterface.register(PACKED, sdpa_mask)


@dataclass(frozen=True)
class _GPUPlan:
    """One call of variable-length flash attention, for all layers."""

    keys: Tensor | None
    """[keys] the tokens to attend to, segment by segment; None if they are the row itself."""
    query_edges: Tensor
    """[segments + 1] int32"""
    key_edges: Tensor
    longest_query: int
    longest_key: int

    @classmethod
    def of(cls, layout: Layout, device: torch.device) -> _GPUPlan:
        edges = edges_of(layout.lengths)
        spans = [[span] for span in pairwise(edges)]
        for prompt, first, last in layout.shared_prompts():
            for segment in range(first, last):
                spans[segment].insert(0, spans[prompt][0])
        widths = [sum(stop - start for start, stop in parts) for parts in spans]
        keys = torch.cat([torch.arange(*span) for parts in spans for span in parts])
        return cls(
            keys.to(device) if layout.followers else None,
            torch.tensor(edges, dtype=torch.int32, device=device),
            torch.tensor(edges_of(widths), dtype=torch.int32, device=device),
            max(layout.lengths),
            max(widths),
        )

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """query [total, heads, head], key and value [total, key heads, head] → like query."""
        if self.keys is not None:
            # In float32, so that the gradients of a shared prompt are summed in float32.
            key, value = (x.float().index_select(0, self.keys).to(query.dtype) for x in (key, value))
        out = varlen_attn(
            query,
            key,
            value,
            self.query_edges,
            self.key_edges,
            self.longest_query,
            self.longest_key,
            scale=scale,
            # Causal, aligned at the ends: the last query of a segment sees all its keys.
            window_size=(-1, 0),
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return cast(Tensor, out)


def _padded_states(backbone: Any, pack: Pack) -> Tensor:
    """Every sample in its own row, padded on the right; a shared prompt's states are taken from one row."""
    device = pack.tokens.device
    samples = [torch.cat([torch.arange(*span) for span in spans]) for spans in pack.layout.spans]
    index = torch.nn.utils.rnn.pad_sequence(samples, batch_first=True).to(device)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(s) for s in samples], batch_first=True).to(device)
    states = backbone(input_ids=pack.tokens[index], attention_mask=mask, use_cache=False).last_hidden_state
    place = torch.empty_like(pack.tokens)
    real = mask.flatten().nonzero()[:, 0]
    place[index.flatten()[real]] = real
    return states.flatten(0, 1).index_select(0, place)  # type: ignore[no-any-return]
