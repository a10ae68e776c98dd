"""The sampler of a policy that is being trained: it draws with the newest weights."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.sampler import Sampler, TransformersSampler
from mathloop.sampling.vllm_engine import VllmSampler
from mathloop.training.adapters import whole_weights
from mathloop.training.attention import PACKED
from mathloop.training.linear import plain_layers


def begin_sampler(folder: Path, net: Any, tokenizer: Any, config: SamplingConfig) -> Sampler:
    """A sampler of `net`, whose starting weights lie in `folder`; a context manager.

    transformers draws with `net` itself; vLLM has a copy of its own, which `drawing` renews.
    """
    if config.engine == "vllm":
        return VllmSampler.load(folder, config)
    return TransformersSampler(net, tokenizer, config)


@contextmanager
def drawing(sampler: Sampler, net: Any) -> Iterator[None]:
    """Inside, `sampler` has the weights of `net`, handed over in memory; outside it leaves a GPU free."""
    trained_with = net.config._attn_implementation
    if isinstance(sampler, VllmSampler):
        sampler.load_weights(whole_weights(net))
    elif trained_with == PACKED:  # decoding has an attention of its own in the place of sdpa
        net.config._attn_implementation = "sdpa"
    try:
        with plain_layers(net):  # and linear layers of its own
            yield
    finally:
        net.config._attn_implementation = trained_with
        if isinstance(sampler, VllmSampler):
            sampler.sleep()
