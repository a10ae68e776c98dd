"""The engines of samplers. A new one is a module here, a line in ENGINES, and a name in `SamplingConfig`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.engines.transformers_engine import TransformersSampler
from mathloop.sampling.engines.vllm_engine import VllmSampler
from mathloop.sampling.parallel import ParallelSampler, engines_here
from mathloop.sampling.sampler import Sampler

ENGINES: dict[str, type[TransformersSampler] | type[VllmSampler]] = {
    "transformers": TransformersSampler,
    "vllm": VllmSampler,
}
"""By their names in `SamplingConfig`; a library that only one of them needs is imported when it loads."""


def load_sampler(folder: Path, config: SamplingConfig) -> Sampler:
    """A sampler of the policy in `folder`, by the engine that `config` names, or by several of them.

    Raises:
        BadModel: the folder is not a policy's, or the engine does not run it.
        BadConfig: the engine is not installed, or there are too few GPUs.
    """
    if (count := engines_here(config)) > 1:
        return ParallelSampler(folder, config, count, ENGINES[config.engine].context(folder, config))
    return ENGINES[config.engine].load(folder, config)


def begin_sampler(folder: Path, net: Any, tokenizer: Any, config: SamplingConfig) -> Sampler:
    """A sampler of `net`, which is being trained and whose first weights are in `folder`.

    transformers draws with `net` itself; vLLM has a copy, which `take_weights` renews. Raises the errors of
    `load_sampler`.
    """
    return ENGINES[config.engine].beside_trainer(folder, net, tokenizer, config)
