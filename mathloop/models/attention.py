"""A backbone's hidden states on a pack: every token attends only to its own sample.

Linear layers, norms and embeddings run on the packed row, without padding. Only attention knows where samples
start and end: a function registered with transformers, which is plain `sdpa` outside of packing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from mathloop.models.dtypes import fast_bfloat16
from mathloop.models.packing import Layout, Pack

FAMILIES = frozenset({"llama", "mistral", "olmo2", "qwen2", "qwen3", "smollm3"})
"""Model types with plain causal attention whose other layers treat every token alike."""
PACKED = "packed"
"""The name of this attention in transformers."""
_FILL = 0.9
"""Minimum share of a bucket that is not padding: a trade-off of fewer calls against wasted work."""


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
        plan=_GPUPlan.of(pack.layout, device) if device.type == "cuda" else _CPUPlan.of(pack.layout),
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
    plan: _CPUPlan | _GPUPlan | None = None,
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
        edges = _edges(layout.lengths)
        spans = [[span] for span in pairwise(edges)]
        for prompt, first, last in layout.shared_prompts():
            for segment in range(first, last):
                spans[segment].insert(0, spans[prompt][0])
        widths = [sum(stop - start for start, stop in parts) for parts in spans]
        keys = torch.cat([torch.arange(*span) for parts in spans for span in parts])
        return cls(
            keys.to(device) if layout.followers else None,
            torch.tensor(edges, dtype=torch.int32, device=device),
            torch.tensor(_edges(widths), dtype=torch.int32, device=device),
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


@dataclass(frozen=True)
class _Bucket:
    """Segments of similar lengths, padded to one width for one call of attention."""

    width: int
    index: Tensor
    """[segments * width] the token at each position; past a segment's end, its last token is repeated."""
    real: Tensor
    """Positions that hold tokens."""
    empty: Tensor
    """Positions that are padding."""

    def take(self, row: Tensor) -> Tensor:
        """[total, heads, …] → [segments, heads, width, …]."""
        return row.index_select(0, self.index).view(-1, self.width, *row.shape[1:]).transpose(1, 2)

    def put(self, row: Tensor, padded: Tensor) -> None:
        """The inverse of `take`, without the padding."""
        places = padded.transpose(1, 2).flatten(0, 1)
        row.index_copy_(0, self.index[self.real], places.index_select(0, self.real))


@dataclass(frozen=True)
class _CPUPlan:
    """Flash attention calls for one layer: each segment attends to itself, then to its shared prompt."""

    buckets: list[_Bucket]
    crossings: list[tuple[slice, slice]]
    """(tokens, the prompt tokens before them that they share)."""

    @classmethod
    def of(cls, layout: Layout) -> _CPUPlan:
        edges = _edges(layout.lengths)
        left = sorted((length, edges[i]) for i, length in enumerate(layout.lengths))
        buckets = []
        while left:
            width, taken, total = left[-1][0], 0, 0
            for length, _ in reversed(left):
                if (taken + 1) * width * _FILL > total + length:
                    break
                taken, total = taken + 1, total + length
            lengths, firsts = torch.tensor(left[-taken:])[:, :, None].unbind(1)
            at = torch.arange(width)
            index = firsts + at.minimum(lengths - 1)
            real = (at < lengths).flatten()
            buckets.append(_Bucket(width, index.flatten(), real.nonzero()[:, 0], (~real).nonzero()[:, 0]))
            del left[-taken:]
        crossings = [
            (slice(edges[first], edges[last]), slice(edges[prompt], edges[prompt + 1]))
            for prompt, first, last in layout.shared_prompts()
        ]
        return cls(buckets, crossings)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """query [total, heads, head], key and value [total, key heads, head] → like query."""
        out: Tensor = _CPUAttention.apply(query, key, value, self, scale)  # type: ignore[no-untyped-call]
        return out


class _CPUAttention(torch.autograd.Function):
    """Attention by parts of the keys, joined by their log-sum-exps as in ring attention (arXiv 2310.01889).

    The backward pass of a part needs only the joined output and log-sum-exp, and is exact. It is in float32,
    as is the forward pass where bfloat16 is emulated: in bfloat16 PyTorch's kernels are slower there.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: _CPUPlan, scale: float) -> Tensor:
        dtype, wide = query.dtype, torch.promote_types(query.dtype, torch.float32)
        if not fast_bfloat16("cpu"):
            query, key, value = (x.to(wide) for x in (query, key, value))
        out = query.new_empty(query.shape, dtype=wide)
        logsumexp = out.new_empty(query.shape[:2])
        for bucket in plan.buckets:
            padded = [bucket.take(x) for x in (query, key, value)]
            part, partial = _flash(*padded, is_causal=True, scale=scale)
            bucket.put(out, part.to(wide))
            bucket.put(logsumexp, partial)
        for tokens, prompt in plan.crossings:
            part, partial = _flash(
                _heads(query[tokens]), _heads(key[prompt]), _heads(value[prompt]), scale=scale
            )
            part, partial = part[0].transpose(0, 1), partial[0].transpose(0, 1)
            joined = torch.logaddexp(logsumexp[tokens], partial)
            out[tokens] *= (logsumexp[tokens] - joined).exp_()[..., None]
            out[tokens] += part * (partial - joined).exp_()[..., None]
            logsumexp[tokens] = joined
        ctx.save_for_backward(query, key, value, out, logsumexp)
        ctx.plan, ctx.scale = plan, scale
        return out.to(dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out, logsumexp = ctx.saved_tensors
        above, query, key, value = (x.to(out.dtype) for x in (gradient, query, key, value))
        gradients = [torch.empty_like(x) for x in (query, key, value)]
        for bucket in ctx.plan.buckets:
            padded_above = bucket.take(above)
            # Padding repeats a token, but must not contribute to its gradient.
            padded_above.transpose(1, 2).flatten(0, 1).index_fill_(0, bucket.empty, 0.0)
            padded = [bucket.take(x) for x in (query, key, value, out, logsumexp)]
            for whole, part in zip(
                gradients, _flash_backward(padded_above, *padded, 0.0, True, scale=ctx.scale), strict=True
            ):
                bucket.put(whole, part)
        for tokens, prompt in ctx.plan.crossings:
            places = tokens, prompt, prompt
            read = [_heads(x[at]) for x, at in zip((query, key, value), places, strict=True)]
            after = [_heads(x[tokens]) for x in (out, logsumexp)]
            parts = _flash_backward(_heads(above[tokens]), *read, *after, 0.0, False, scale=ctx.scale)
            for whole, part, at in zip(gradients, parts, places, strict=True):
                whole[at] += part[0].transpose(0, 1)
        return *(x.to(gradient.dtype) for x in gradients), None, None


_flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
_flash_backward = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward


def _heads(row: Tensor) -> Tensor:
    """[total, heads, …] → [1, heads, total, …]."""
    return row.transpose(0, 1)[None]


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


def _edges(lengths: list[int]) -> list[int]:
    """Start of each consecutive segment, and the end of the last one."""
    return list(accumulate(lengths, initial=0))
