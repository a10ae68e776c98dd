"""Attention on a packed row on a CPU: calls of PyTorch's flash attention for the parts of a row."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from mathloop.models.dtypes import fast_bfloat16
from mathloop.models.packing import Layout

_FILL = 0.9
"""Minimum share of a bucket that is not padding: a trade-off of fewer calls against wasted work."""
_ALONE = 32
"""Tokens from which a segment is attended to by itself: gathering it would cost more than the call."""


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
class CPUPlan:
    """Flash attention calls for one layer: each segment attends to itself, then to its shared prompt."""

    buckets: list[_Bucket]
    alone: list[slice]
    """Segments that are long enough for a call of their own."""
    crossings: list[tuple[slice, slice]]
    """(tokens, the prompt tokens before them that they share)."""

    @classmethod
    def of(cls, layout: Layout, heads: int = 0) -> CPUPlan:
        """For a model with so many attention heads; short segments go into buckets.

        A call of one segment runs on as many threads as there are heads: with more, all go into buckets.
        """
        edges = edges_of(layout.lengths)
        least = _ALONE if torch.get_num_threads() <= heads else max(layout.lengths) + 1
        alone = [slice(*edge) for edge in pairwise(edges) if edge[1] - edge[0] >= least]
        left = sorted((length, edges[i]) for i, length in enumerate(layout.lengths) if length < least)
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
        return cls(buckets, alone, crossings)

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
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, plan: CPUPlan, scale: float) -> Tensor:
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
        for own in plan.alone:
            part, partial = _flash(
                *(_heads(x[own]) for x in (query, key, value)), is_causal=True, scale=scale
            )
            out[own], logsumexp[own] = part[0].transpose(0, 1), partial[0].transpose(0, 1)
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
        for own in ctx.plan.alone:
            read = [_heads(x[own]) for x in (above, query, key, value, out, logsumexp)]
            for whole, part in zip(
                gradients, _flash_backward(*read, 0.0, True, scale=ctx.scale), strict=True
            ):
                whole[own] = part[0].transpose(0, 1)
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


def edges_of(lengths: list[int]) -> list[int]:
    """Start of each consecutive segment, and the end of the last one."""
    return list(accumulate(lengths, initial=0))
