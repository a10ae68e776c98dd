"""Hands the newest weights to the sampler in memory, for the rollouts between two optimizer steps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mathloop.models.attention import PACKED
from mathloop.models.linear import plain_layers
from mathloop.sampling.sampler import Sampler
from mathloop.training.adapters import merged_weights


@contextmanager
def sampling_with(sampler: Sampler, net: Any, dtype: torch.dtype = torch.float32) -> Iterator[None]:
    """Inside, `sampler` is awake and has the weights of `net`; outside, it sleeps and frees GPU memory.

    On a CPU, decoding in this process multiplies in `dtype`, as the trainer does.
    """
    with _plain(net), torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        sampler.wake()
        sampler.take_weights(merged_weights(net))
        try:
            yield
        finally:
            sampler.sleep()


@contextmanager
def _plain(net: Any) -> Iterator[None]:
    """Inside, `net` has transformers' own attention and linear layers: decoding replaces them by its own."""
    attention = net.config._attn_implementation
    if attention == PACKED:
        net.config._attn_implementation = "sdpa"
    try:
        with plain_layers(net):
            yield
    finally:
        net.config._attn_implementation = attention
