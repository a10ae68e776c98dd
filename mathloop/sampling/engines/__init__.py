"""The engines of samplers. A new one is a module here, a line in ENGINES, and a name in `SamplingConfig`.

Engines, and torch with them, are imported when one is asked for: a stage's process holds no libraries of an
engine that runs elsewhere.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.sampler import Sampler
from mathloop.sampling.sources import current_source

if TYPE_CHECKING:
    from mathloop.sampling.engines.transformers_engine import TransformersSampler
    from mathloop.sampling.engines.vllm_engine import VllmSampler

ENGINES = {
    "transformers": "transformers_engine.TransformersSampler",
    "vllm": "vllm_engine.VllmSampler",
}
"""Module and class of each, by its name in `SamplingConfig`."""


def engine(name: str) -> type[TransformersSampler] | type[VllmSampler]:
    """The class of an engine in `ENGINES`, imported if need be."""
    module, _, sampler = ENGINES[name].partition(".")
    found: type[TransformersSampler] | type[VllmSampler]
    found = getattr(import_module(f"{__name__}.{module}"), sampler)
    return found


def load_sampler(folder: Path, config: SamplingConfig) -> Sampler:
    """A sampler of the policy in `folder`, by the engine that `config` names, or by several of them.

    Raises:
        BadModel: the folder is not a policy's, or the engine does not run it.
        BadConfig: the engine is not installed, or there are too few GPUs.
    """
    source = current_source()
    return load_engines(folder, config) if source is None else source.sampler(folder, config)


def load_engines(folder: Path, config: SamplingConfig) -> Sampler:
    """The same, whatever `sampling_from` says."""
    from mathloop.sampling.parallel import ParallelSampler, engines_here

    if (count := engines_here(config)) > 1:
        return ParallelSampler(folder, config, count, engine(config.engine).context(folder, config))
    return engine(config.engine).load(folder, config)


def begin_sampler(folder: Path, net: Any, tokenizer: Any, config: SamplingConfig) -> Sampler:
    """A sampler of `net`, which is being trained and whose first weights are in `folder`.

    transformers draws with `net` itself; vLLM has a copy, which `take_weights` renews. Raises the errors of
    `load_sampler`.
    """
    return engine(config.engine).beside_trainer(folder, net, tokenizer, config)
