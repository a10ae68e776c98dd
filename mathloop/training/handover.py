"""Between two updates the policy draws its rollouts: its sampler gets the newest weights, in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mathloop.sampling.sampler import Sampler
from mathloop.training.adapters import whole_weights
from mathloop.training.attention import PACKED
from mathloop.training.linear import plain_layers


@contextmanager
def drawing(sampler: Sampler, net: Any) -> Iterator[None]:
    """Inside, `sampler` is awake and has the weights of `net`; outside it leaves a GPU's memory free."""
    with _plain(net):
        sampler.wake()
        sampler.take_weights(whole_weights(net))
        try:
            yield
        finally:
            sampler.sleep()


@contextmanager
def _plain(net: Any) -> Iterator[None]:
    """Inside, `net` has transformers' own attention and linear layers: decoding replaces these by its own."""
    trained_with = net.config._attn_implementation
    if trained_with == PACKED:
        net.config._attn_implementation = "sdpa"
    try:
        with plain_layers(net):
            yield
    finally:
        net.config._attn_implementation = trained_with
