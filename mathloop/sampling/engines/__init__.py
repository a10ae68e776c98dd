"""The engines of samplers. A new one is a module here, a line in ENGINES, and a name in `SamplingConfig`.

Engines, and torch with them, are imported when one is asked for: a stage's process holds no libraries of an
engine that runs elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

from mathloop.sampling.config import SamplingConfig
from mathloop.sampling.sampler import Sampler

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
    return _load(folder, config) if _kept is None else _kept.sampler(folder, config)


@contextmanager
def kept_samplers() -> Iterator[None]:
    """Inside, a policy that is asked for again with the same config is not loaded again."""
    global _kept
    _kept = _Kept()
    try:
        yield
    finally:
        kept, _kept = _kept, None
        kept.close()


class _Kept:
    """The sampler that was asked for last; two at once would not fit on a GPU."""

    def __init__(self) -> None:
        self._asked: tuple[Path, SamplingConfig] | None = None
        self._sampler: Sampler | None = None

    def sampler(self, folder: Path, config: SamplingConfig) -> Sampler:
        if self._sampler is None or self._asked != (folder, config):
            self.close()
            self._asked, self._sampler = (folder, config), _load(folder, config)
        return cast("Sampler", _Open(self._sampler))

    def close(self) -> None:
        if self._sampler is not None:
            sampler, self._sampler = self._sampler, None
            sampler.close()


_kept: _Kept | None = None


class _Open:
    """A sampler that stays open when its user closes it."""

    def __init__(self, sampler: Sampler) -> None:
        self._sampler = sampler

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sampler, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        return

    def close(self) -> None:
        """Nothing: `kept_samplers` closes it."""


def _load(folder: Path, config: SamplingConfig) -> Sampler:
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
